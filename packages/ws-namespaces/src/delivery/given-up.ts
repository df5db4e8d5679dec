/** More stretches than one process' outages make while the log still has their messages. */
const MOST = 1000

/**
 * Own messages that clients here got without the log. It may have them none the less: of a command whose answer was lost
 * nobody knows whether it was done.
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
    if (this.#stretches.length > MOST) this.#stretches.shift()
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
