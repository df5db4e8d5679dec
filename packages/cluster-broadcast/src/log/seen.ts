/** As many publishers as appear while a log holds their messages, with room. */
const MOST_PUBLISHERS = 10_000

/** How far the messages of one publisher were delivered here. */
export interface Progress { highest: number }

/**
 * How far each publisher's messages were delivered here. It makes "once" of a log that is read again, and of a batch that
 * stands in it twice, whatever happened to Redis: publishers number their messages themselves.
 */
export class Seen {
  readonly #most: number
  readonly #publishers = new Map<string, Progress>()
  #lastName = ''
  #last: Progress | undefined

  constructor (most = MOST_PUBLISHERS) {
    this.#most = most
  }

  /** The progress of a publisher, for the caller to move on. */
  of (publisher: string): Progress {
    // The same one again is the most frequent case, and is the latest used already.
    if (publisher === this.#lastName && this.#last !== undefined) return this.#last
    const progress = this.#publishers.get(publisher) ?? { highest: 0 }
    this.#publishers.delete(publisher)
    this.#publishers.set(publisher, progress)
    // The one that was silent for longest is the first to be forgotten.
    if (this.#publishers.size > this.#most) this.#publishers.delete(this.#publishers.keys().next().value!)
    this.#lastName = publisher
    this.#last = progress
    return progress
  }
}

/** More stretches than one process' outages make while the log still has their messages. */
const MOST_STRETCHES = 1000

/**
 * Own messages that were given up: this process has them without the log. It may hold them none the less, because of a
 * command whose answer was lost nobody knows whether it was done.
 */
export class GivenUp {
  /** First and last number, in order. */
  readonly #stretches: Array<[first: number, last: number]> = []
  #isOpen = false

  /** A message was given up; their numbers only grow. */
  add (counter: number): void {
    const last = this.#stretches.at(-1)
    if (this.#isOpen && last !== undefined) last[1] = counter
    else this.#stretches.push([counter, counter])
    if (this.#stretches.length > MOST_STRETCHES) this.#stretches.shift()
    this.#isOpen = true
  }

  /** Redis took a batch: what is given up from now on is another stretch. */
  cut (): void {
    this.#isOpen = false
  }

  /** Asked in the order of the log, which is that of the numbers. */
  has (counter: number): boolean {
    const stretches = this.#stretches
    while (stretches.length > 0 && stretches[0]![1] < counter) stretches.shift()
    return stretches.length > 0 && stretches[0]![0] <= counter
  }
}
