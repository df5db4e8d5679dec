import { now } from '../time.ts'

/** A load that began: what happened since then decides whether its result may be kept. */
export interface Load {
  readonly began: number
  readonly term: number
}

/** A block as it stands in Redis and in messages. */
export interface Block {
  readonly opId: string
  /** Member that waits for acknowledgements. */
  readonly writer: string
  readonly tags: readonly string[]
}

/** The values of this process, of which those of a touched tag are dropped. */
export interface LocalLevel {
  drop (tag: string): void
  clear (): void
}

/** Beyond this many touched tags the list is emptied, and all loads in flight are void. */
const MAX_TOUCHED = 20_000

/**
 * What this process knows: whether its lease runs, which tags are blocked, which were touched since a load began.
 *
 * Invariants (docs/coherence.md): an entry is in L1 only if none of its tags was touched since its load began; a blocked
 * tag has no entry; L1 is read only while the lease runs.
 */
export class View {
  /** End of the lease on the monotonic clock. Compared with the clock at each read, never by a timer: a process that was stopped or busy must not serve before it renewed. */
  leaseUntil = -Infinity
  /** Hears which tags a write that ended has touched; null where that is not known, and any may have been. */
  onChange: (tags: readonly string[] | null) => void = () => {}
  /** Hears that the cache was cleared, here or by another instance. */
  onClear: () => void = () => {}
  readonly #level: LocalLevel
  readonly #clock: () => number
  readonly #ops = new Map<string, Block>()
  /** Those of `#ops` of which Redis knows nothing. */
  readonly #here = new Map<string, Block>()
  readonly #blocked = new Map<string, number>()
  readonly #touched = new Map<string, number>()
  #term = 0
  /** Counts touches. */
  #touches = 0
  /** Loads that began before this touch are void. */
  #floor = 0
  #loads = 0

  /** @param clock monotonic */
  constructor (level: LocalLevel, clock = now) {
    this.#level = level
    this.#clock = clock
  }

  get isLeased (): boolean {
    return this.#clock() < this.leaseUntil
  }

  /** Changes whenever the lease ended: what was known under another term may be incomplete. */
  get term (): number {
    return this.#term
  }

  get blocks (): number {
    return this.#ops.size
  }

  /** A lease that runs on keeps its term; one that lapsed begins another. */
  grant (until: number): void {
    if (this.#clock() >= this.leaseUntil) this.#term++
    this.leaseUntil = Math.max(until, this.leaseUntil)
  }

  endLease (): void {
    this.leaseUntil = -Infinity
    this.#term++
  }

  isBlocked (tags: readonly string[]): boolean {
    return this.#blocked.size > 0 && tags.some((tag) => this.#blocked.has(tag))
  }

  block (block: Block): void {
    if (this.#ops.has(block.opId)) return
    this.#ops.set(block.opId, block)
    for (const tag of block.tags) {
      this.#blocked.set(tag, (this.#blocked.get(tag) ?? 0) + 1)
      this.#touch(tag)
      this.#level.drop(tag)
    }
  }

  /** As `block`, of this process alone: what Redis tells does not end it. */
  blockHere (block: Block): void {
    this.#here.set(block.opId, block)
    this.block(block)
  }

  /** Also voids the loads that began under the block: they may have read the value from before the write. */
  release (opId: string): void {
    const block = this.#ops.get(opId)
    if (block === undefined) return
    this.#ops.delete(opId)
    this.#here.delete(opId)
    for (const tag of block.tags) {
      const left = this.#blocked.get(tag)! - 1
      if (left === 0) this.#blocked.delete(tag)
      else this.#blocked.set(tag, left)
      this.#touch(tag)
    }
    this.onChange(block.tags)
  }

  /** Something was missed: forget everything, and take the blocks that stand in Redis beside those of this process alone. */
  reset (blocks: readonly Block[]): void {
    this.#ops.clear()
    this.#blocked.clear()
    this.#touched.clear()
    this.#floor = ++this.#touches
    this.#level.clear()
    for (const block of [...this.#here.values(), ...blocks]) this.block(block)
    this.onChange(null)
  }

  /** Empties this process, and voids the loads in flight, which may have read what was before. Coherence never needs it. */
  clear (): void {
    this.#floor = ++this.#touches
    this.#level.clear()
    this.onClear()
  }

  /** Say so before the first byte of the value is asked for, and `end` when the value is kept or given up. */
  begin (): Load {
    this.#loads++
    return { began: this.#touches, term: this.#term }
  }

  end (): void {
    if (--this.#loads > 0 && this.#touched.size < MAX_TOUCHED) return
    if (this.#loads > 0) this.#floor = ++this.#touches
    this.#touched.clear()
  }

  /** Whether what the load returns is current: under a lease all along, and nothing touched or blocked its tags. */
  isClean (load: Load, tags: readonly string[]): boolean {
    return this.isLeased && load.term === this.#term && load.began >= this.#floor && !this.isBlocked(tags) &&
      !tags.some((tag) => (this.#touched.get(tag) ?? 0) > load.began)
  }

  #touch (tag: string): void {
    this.#touches++
    if (this.#loads > 0) this.#touched.set(tag, this.#touches)
  }
}
