import type { SessionRef } from '../ids.ts'

/**
 * The only builder of this package's Redis keys. What one script touches shares the hash tag of the user's group, or of the
 * anonymous session itself.
 */
export class Keys {
  readonly #key: (...parts: string[]) => string

  /** @param key `redisLink.key` */
  constructor (key: (...parts: string[]) => string) {
    this.#key = key
  }

  /** `sess:{<tag>}:<hash>`, string. */
  session ({ tag, hash, owned }: SessionRef): string {
    return owned ? this.#key('sess', `{${tag}}`, hash) : this.#key('sess', `{${hash}}`)
  }

  /** `user:sessions:{<tag>}`, sorted set of hashes by the time of expiry in ms. */
  index (tag: string): string {
    return this.#key('user', 'sessions', `{${tag}}`)
  }

  /** `user:watermark:{<tag>}`, string: sessions with a stamp up to this one are void. */
  watermark (tag: string): string {
    return this.#key('user', 'watermark', `{${tag}}`)
  }

  /** Begin of every session's key. */
  get sessions (): string {
    return this.#key('sess', '')
  }

  /** `session-backup:{job}:<part>`: what the backup job keeps. `complete` holds the `epoch` of the link that it is true for. */
  backup (part: 'dirty' | 'work' | 'complete'): string {
    return this.#key('session-backup', '{job}', part)
  }
}
