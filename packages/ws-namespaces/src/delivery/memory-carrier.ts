import { randomBytes } from 'node:crypto'
import { parseOffset, type Carrier, type Delivered, type Delivery, type Listening, type Logged, type Opening, type Place, type Sink } from './carrier.ts'
import type { History } from '../options.ts'

interface Kept extends Logged { readonly at: number }

const DROPPED: Kept = Object.freeze({ topic: 'broadcast', json: '', bytes: null, except: '', volatile: false, seq: 0, at: 0 })

/** Bytes that a log may hold, whatever its length: where messages are large, less is kept of it. */
const MOST_BYTES = 32 * 1024 * 1024

/** The log of a namespace within the process: a ring. It outlives the namespace's connections. */
export class MemoryLog {
  readonly epoch = randomBytes(6).toString('hex')
  readonly #history: History
  #kept: Kept[] = []
  /** Entries before this index were dropped. */
  #from = 0
  #bytes = 0
  #seq = 0
  #usedAt = performance.now()

  constructor (history: History) {
    this.#history = history
  }

  get place (): Place {
    return { epoch: this.epoch, seq: this.#seq }
  }

  /** Whether nobody used it for so long that nobody can resume from it. */
  get stale (): boolean {
    return performance.now() - this.#usedAt > this.#history.maxAgeMs
  }

  append (message: Delivery): Place {
    this.#usedAt = performance.now()
    this.#kept.push({ ...message, seq: ++this.#seq, at: this.#usedAt })
    this.#bytes += sizeOf(message)
    while (this.#kept.length - this.#from > this.#history.maxLength || this.#bytes > MOST_BYTES) this.#drop()
    return this.place
  }

  open (offset: string | null): Opening {
    this.#usedAt = performance.now()
    const [place, from] = [this.place, parseOffset(offset)]
    const missing = from === null || from.epoch !== this.epoch ? Infinity : place.seq - from.seq
    if (missing < 0 || missing > this.#history.maxLength) return { place, recovered: false, missed: [] }
    const missed = missing === 0 ? [] : this.#kept.slice(Math.max(this.#from, this.#kept.length - missing))
    const recovered = missing === 0 || (missed.length === missing && performance.now() - missed[0]!.at <= this.#history.maxAgeMs)
    return { place, recovered, missed: recovered ? missed : [] }
  }

  keep (): void {
    this.#usedAt = performance.now()
  }

  #drop (): void {
    this.#bytes -= sizeOf(this.#kept[this.#from]!)
    this.#kept[this.#from++] = DROPPED
    // Compacted when half is dropped: shift() would move all entries at each message.
    if (this.#from * 2 < this.#kept.length) return
    this.#kept = this.#kept.slice(this.#from)
    this.#from = 0
  }
}

function sizeOf ({ json, bytes }: Delivery): number {
  return json.length + (bytes?.length ?? 0)
}

/** Carries a namespace with history where no Redis is configured. */
export class MemoryCarrier implements Carrier {
  readonly gaps = 0
  readonly idle = true
  readonly #log: MemoryLog
  readonly #sink: Sink
  readonly #markEvery: number

  constructor (log: MemoryLog, { markEvery }: History, sink: Sink) {
    this.#log = log
    this.#markEvery = markEvery
    this.#sink = sink
  }

  async publish (message: Delivery): Promise<Delivered> {
    const place = this.#log.append(message)
    this.#sink.deliver(message, place)
    if (place.seq % this.#markEvery === 0) this.#sink.mark(place)
    return 'local'
  }

  listen (): Listening {
    return { ready: Promise.resolve(), stop: () => {} }
  }

  async open (offset: string | null): Promise<Opening> {
    return this.#log.open(offset)
  }

  keep (): void {
    this.#log.keep()
    this.#sink.mark(this.#log.place)
  }

  close (): void {}
}
