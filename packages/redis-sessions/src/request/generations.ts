/** What was met of late, by a text: of what comes again, most is found. Bounded by two generations, of which the older is dropped whole. */
export class Generations<Value> {
  readonly #most: number
  #young = new Map<string, Value>()
  #old = new Map<string, Value>()

  /** @param most so many are kept twice over */
  constructor (most: number) {
    this.#most = most
  }

  get (text: string): Value | undefined {
    const known = this.#young.get(text)
    if (known !== undefined) return known
    const older = this.#old.get(text)
    if (older !== undefined) this.set(text, older)
    return older
  }

  set (text: string, value: Value): void {
    if (this.#young.size >= this.#most) {
      this.#old = this.#young
      this.#young = new Map()
    }
    // Of a text that was cut out of another, that one is kept too.
    this.#young.set(Buffer.from(text).toString(), value)
  }
}
