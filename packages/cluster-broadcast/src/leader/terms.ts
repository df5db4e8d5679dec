import type { RedisLink } from '@jpulse/redis-link'
import { resign, stand } from './scripts.ts'

/** Where the terms of one election are kept. */
export interface Terms {
  /** How long a term lasts that is not renewed: as the leader says, or for ever where nobody else can stand. */
  readonly isAlone: boolean
  /** Stands, or renews the own term. */
  stand (holder: string, leaseMs: number): Promise<{ readonly leads: boolean, readonly token: number }>
  /** Ends the own term. */
  resign (holder: string): Promise<unknown>
}

export class RedisTerms implements Terms {
  readonly isAlone = false
  readonly #link: RedisLink
  readonly #key: string

  constructor (link: RedisLink, key: string) {
    this.#link = link
    this.#key = key
  }

  async stand (holder: string, leaseMs: number): Promise<{ leads: boolean, token: number }> {
    const [leads, token] = await this.#link.runScript(stand, { keys: [this.#key], args: [holder, leaseMs] })
    return { leads: leads === 1, token: Number(token) }
  }

  resign (holder: string): Promise<unknown> {
    return this.#link.runScript(resign, { keys: [this.#key], args: [holder] })
  }
}

/** By the same rules, within the process. */
export class MemoryTerms implements Terms {
  readonly isAlone: boolean
  #holder = ''
  #token = 0
  #endsAt = -Infinity

  constructor (isAlone: boolean) {
    this.isAlone = isAlone
  }

  async stand (holder: string, leaseMs: number): Promise<{ leads: boolean, token: number }> {
    const now = performance.now()
    if (this.#endsAt > now && this.#holder !== holder) return { leads: false, token: this.#token }
    if (this.#endsAt <= now) this.#token = Math.max(this.#token + 1, Date.now() * 1000)
    this.#holder = holder
    this.#endsAt = this.isAlone ? Infinity : now + leaseMs
    return { leads: true, token: this.#token }
  }

  async resign (holder: string): Promise<void> {
    if (this.#holder === holder) this.#endsAt = -Infinity
  }
}
