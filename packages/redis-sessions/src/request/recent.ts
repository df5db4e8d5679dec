const MOST_RECENT = 10_000

/** What was added less than some time ago. */
export class Recent {
  readonly #ms: number
  #until = 0
  #older = new Set<string>()
  #newer = new Set<string>()

  constructor (ms: number) {
    this.#ms = ms
  }

  has (name: string): boolean {
    this.#turn()
    return this.#newer.has(name) || this.#older.has(name)
  }

  add (name: string): void {
    this.#newer.add(name)
  }

  delete (name: string): void {
    this.#newer.delete(name)
    this.#older.delete(name)
  }

  /** Half of the time per set. */
  #turn (): void {
    const now = performance.now()
    if (now < this.#until && this.#newer.size < MOST_RECENT) return
    this.#older = now < this.#until + this.#ms / 2 ? this.#newer : new Set()
    this.#newer = new Set()
    this.#until = now + this.#ms / 2
  }
}
