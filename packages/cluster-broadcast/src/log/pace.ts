/** Most that one read brings, but for a single frame that is larger. */
export interface Most {
  readonly frames: number
  readonly bytes: number
}

/** Small, because the line may be slow. */
const FIRST: Most = Object.freeze({ frames: 100, bytes: 128 * 1024 })
const MOST: Most = Object.freeze({ frames: 1000, bytes: 4 * 1024 * 1024 })

/**
 * How much to read at once. Each read that succeeds doubles it, until one fails: then it is halved for as long as the pace
 * lasts. Else the same read could fail for ever, because on a slow line a large answer is never there in time.
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

  failed (): void {
    this.#hasFailed = true
    this.#most = { frames: Math.ceil(this.#most.frames / 2), bytes: Math.ceil(this.#most.bytes / 2) }
  }
}
