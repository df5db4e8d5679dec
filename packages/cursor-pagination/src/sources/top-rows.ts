/** How two entries compare; never 0 for two that are both offered. */
export type Order<T> = (a: T, b: T) => number

/**
 * The first n of any number of entries, in O(n) memory and O(log n) per entry that gets in: a binary heap with the last
 * of them on top (Williams, "Algorithm 232: Heapsort", 1964).
 */
export class TopRows<T> {
  readonly #heap: T[] = []
  readonly #size: number
  readonly #order: Order<T>

  constructor (size: number, order: Order<T>) {
    this.#size = size
    this.#order = order
  }

  /** Whether an entry would get in. */
  admits (entry: T): boolean {
    if (this.#heap.length < this.#size) return true
    return this.#size > 0 && this.#order(entry, this.#heap[0] as T) < 0
  }

  /** Takes an entry that {@link admits} let pass. */
  add (entry: T): void {
    if (this.#heap.length < this.#size) {
      this.#heap.push(entry)
      this.#rise(this.#heap.length - 1)
    } else {
      this.#heap[0] = entry
      this.#sink()
    }
  }

  /** The entries in order. */
  sorted (): T[] {
    return this.#heap.sort(this.#order)
  }

  #rise (from: number): void {
    let at = from
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#swapWhereAbove(at, parent)) return
      at = parent
    }
  }

  #sink (): void {
    let at = 0
    for (;;) {
      const left = 2 * at + 1
      if (left >= this.#heap.length) return
      const right = left + 1
      const child = right < this.#heap.length && this.#order(this.#heap[right] as T, this.#heap[left] as T) > 0 ? right : left
      if (!this.#swapWhereAbove(child, at)) return
      at = child
    }
  }

  #swapWhereAbove (child: number, parent: number): boolean {
    const a = this.#heap[child] as T
    const b = this.#heap[parent] as T
    if (this.#order(a, b) <= 0) return false
    this.#heap[child] = b
    this.#heap[parent] = a
    return true
  }
}
