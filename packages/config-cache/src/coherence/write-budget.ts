import { FST_ERR_CONFIG_CACHE_UNDECIDED } from '../errors.ts'

/** Writes of unknown outcome at which a process begins no more. */
const MAX_UNDECIDED = 1000
/** Most bytes of keys and tags that a process blocks at a time: Redis tells them to every member at each renewal. */
const MAX_BLOCKED_BYTES = 4 * 1024 * 1024
/** What a block, and each of its tags, takes in Redis beside the text. */
const BLOCK_BYTES = 64
const TAG_BYTES = 3

/** What one write takes of the budget. */
export interface Admission {
  /** Whether its outcome is unknown, so that its block outlasts it. */
  readonly isUndecided: boolean
  outlast (): void
  end (): void
}

/**
 * Bounds what a process blocks. What may yet reach the database stays blocked, however much it is: it is further writes that are refused. Writes
 * in flight count like undecided ones, since each of them may become one.
 */
export class WriteBudget {
  #bytes = 0
  #undecided = 0

  /** @throws FST_ERR_CONFIG_CACHE_UNDECIDED */
  admit (tags: readonly string[]): Admission {
    let bytes = BLOCK_BYTES
    for (const tag of tags) bytes += TAG_BYTES + Buffer.byteLength(tag)
    if (this.#undecided >= MAX_UNDECIDED) throw new FST_ERR_CONFIG_CACHE_UNDECIDED(`the outcome of ${MAX_UNDECIDED} others is not known yet`)
    if (this.#bytes + bytes > MAX_BLOCKED_BYTES) throw new FST_ERR_CONFIG_CACHE_UNDECIDED(`others that are under way, or of unknown outcome, hold all of the ${MAX_BLOCKED_BYTES} bytes for keys and tags`)
    this.#bytes += bytes
    let isUndecided = false
    return {
      get isUndecided () { return isUndecided },
      outlast: () => {
        isUndecided = true
        this.#undecided++
      },
      end: () => {
        this.#bytes -= bytes
        if (isUndecided) this.#undecided--
      }
    }
  }
}
