import type { SessionRef } from '../ids.ts'

/**
 * The only builder of this package's Redis keys. What one script touches shares the hash tag of the user's group, or of the
 * anonymous session itself. Each registration with a name has keys of its own: `sess@<name>:…` and so on.
 */
export class Keys {
  readonly #key: (...parts: string[]) => string
  readonly #realm: string

  /**
   * @param key `redisLink.key`
   * @param realm name of the registration; '' for the one without a name
   */
  constructor (key: (...parts: string[]) => string, realm = '') {
    this.#key = key
    this.#realm = realm === '' ? '' : `@${realm}`
  }

  /** `sess:{<tag>}:<hash>`, string. */
  session ({ tag, hash, owned }: SessionRef): string {
    return owned ? this.#key(`sess${this.#realm}`, `{${tag}}`, hash) : this.#key(`sess${this.#realm}`, `{${hash}}`)
  }

  /** `user:sessions:{<tag>}`, sorted set of hashes by the time of expiry in ms. */
  index (tag: string): string {
    return this.#key('user', `sessions${this.#realm}`, `{${tag}}`)
  }

  /** `user:notices:{<tag>}`, hash of session hash to what is told of the session when it times out. */
  notices (tag: string): string {
    return this.#key('user', `notices${this.#realm}`, `{${tag}}`)
  }

  /** `user:replaced:{<tag>}:<hash>`, string: another session took the place of this one. */
  replaced ({ tag, hash }: SessionRef): string {
    return this.#key('user', `replaced${this.#realm}`, `{${tag}}`, hash)
  }

  /** `user:holders:{<tag>}:<hash>`, string: who has copies of the session. */
  holders ({ tag, hash }: SessionRef): string {
    return this.#key('user', `holders${this.#realm}`, `{${tag}}`, hash)
  }

  /** `user:watermark:{<tag>}`, string: sessions with a stamp up to this one are void. */
  watermark (tag: string): string {
    return this.#key('user', `watermark${this.#realm}`, `{${tag}}`)
  }

  /** Begin of every session's key. */
  get sessions (): string {
    return this.#key(`sess${this.#realm}`, '')
  }

  /** Name of a lock of the link. */
  lock (part: 'backup' | 'restore'): string {
    return `sessions${this.#realm}:${part}`
  }

  /** `session-backup:{job}:<part>`: what the backup job keeps. `complete` holds the `epoch` of the link that it is true for. */
  backup (part: 'dirty' | 'work' | 'complete'): string {
    return this.#key(`session-backup${this.#realm}`, '{job}', part)
  }
}
