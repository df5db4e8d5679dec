import type { Place } from './carrier.ts'
import { isBefore } from './epoch.ts'

/** The furthest place of a log that this process knows of. A log that ends before it went back. */
export class Furthest {
  #place: Place = { epoch: '', seq: 0 }

  get place (): Place {
    return this.#place
  }

  /** A message or a mark came over a channel, perhaps late. */
  heard (epoch: string, seq: number): void {
    if (epoch === this.#place.epoch ? seq > this.#place.seq : isBefore(this.#place.epoch, epoch)) this.#place = { epoch, seq }
  }

  /** Redis said so: where it is another log, this one is the present one. */
  said (epoch: string, seq: number): void {
    if (epoch === this.#place.epoch ? seq > this.#place.seq : !isBefore(epoch, this.#place.epoch)) this.#place = { epoch, seq }
  }
}
