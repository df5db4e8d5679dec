/** Most that one read brings, but for a single frame that is larger. */
export interface Most {
  readonly frames: number
  readonly bytes: number
}

/** Small, because the line may be slow. */
const FIRST: Most = Object.freeze({ frames: 100, bytes: 128 * 1024 })
const MOST: Most = Object.freeze({ frames: 1000, bytes: 4 * 1024 * 1024 })
/** A line that does not bring so much in time carries no cluster. */
const LEAST: Most = Object.freeze({ frames: 10, bytes: 4 * 1024 })

/**
 * How much to read at once. Each read that succeeds doubles it, until one fails: from then on it grows no more for as long as
 * the pace lasts, and each answer that is not there in time halves it. Else the same read could fail for ever, because on a
 * slow line a large answer is never there in time. That Redis is away says nothing of sizes, however often it is tried.
 */
export class Pace {
  #most = FIRST
  #hasFailed = false

  get most (): Most {
    return this.#most
  }

  succeeded (): void {
    if (this.#hasFailed) return
    this.#most = { frames: Math.min(2 * this.#most.frames, MOST.frames), bytes: Math.min(2 * this.#most.bytes, MOST.bytes) }
  }

  /** @param err what the read failed with */
  failed (err: unknown): void {
    this.#hasFailed = true
    const { frames, bytes } = this.#most
    this.#most = isTimeout(err)
      ? { frames: Math.max(LEAST.frames, Math.ceil(frames / 2)), bytes: Math.max(LEAST.bytes, bytes / 2) }
      : { frames: Math.min(FIRST.frames, frames), bytes: Math.min(FIRST.bytes, bytes) }
  }
}

function isTimeout (err: unknown): boolean {
  return (err as { code?: unknown } | undefined)?.code === 'FST_ERR_REDIS_LINK_TIMEOUT'
}
