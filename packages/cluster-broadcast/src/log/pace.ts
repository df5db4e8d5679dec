/** Most that one read brings, but for a single frame that is larger. */
export interface Most {
  readonly frames: number
  readonly bytes: number
}

/** Small, because the connection may be slow. */
const FIRST: Most = Object.freeze({ frames: 100, bytes: 128 * 1024 })
const MOST: Most = Object.freeze({ frames: 1000, bytes: 4 * 1024 * 1024 })
/** Never smaller: a connection that needs longer for so little is of no use to a cluster. */
const LEAST: Most = Object.freeze({ frames: 10, bytes: 4 * 1024 })

/**
 * Adaptive size of reads. Each read that succeeds doubles it, until one fails: from then on it does not grow any more, and each
 * timeout halves it. Else the same read could time out for ever, because on a slow connection a large answer never arrives in
 * time. Other failures say nothing about the size.
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

/** Redis was away, or its answer was lost. Any other error would come again at the next try. */
export function isOutage (err: unknown): boolean {
  const code = (err as { code?: unknown } | undefined)?.code
  return code === 'FST_ERR_REDIS_LINK_UNAVAILABLE' || code === 'FST_ERR_REDIS_LINK_TIMEOUT'
}
