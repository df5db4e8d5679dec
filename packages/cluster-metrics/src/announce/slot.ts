import type { RedisLink } from '@jpulse/redis-link'
import { parse } from '../formats/index.ts'
import { replaceVersioned } from '../store/index.ts'
import type { HealthEvent } from './events.ts'
import { NOTHING_KNOWN, type Known } from './transitions.ts'

/** Events that are delivered together. */
export interface Batch {
  id: string
  at: number
  events: HealthEvent[]
  /** Attempts that failed, and when the next one may be. */
  attempts: number
  notBefore: number
}

/** Between two attempts. */
export const LONGEST_PAUSE_MS = 60_000

/** What was announced to a recipient, and what is still to be delivered. */
export interface Announced {
  known: Known
  outbox: Batch[]
}

/** Where it is kept: in Redis for all, or in the process for one that is alone. */
export interface Slot {
  /** Null where it cannot be read: a newer release wrote it. */
  read (): Promise<{ version: string, state: Announced } | null>
  /** False where somebody else has replaced it. */
  replace (version: string, state: Announced): Promise<boolean>
}

const FORMAT = 1
/** Longer than any pause of all instances that is not the end of the cluster. */
const KEPT_MS = 7 * 24 * 3600_000

const nothingAnnounced = (): Announced => ({ known: NOTHING_KNOWN, outbox: [] })

export class RedisSlot implements Slot {
  readonly #link: RedisLink
  readonly #key: string

  constructor (link: RedisLink, key: string) {
    this.#link = link
    this.#key = key
  }

  async read (): Promise<{ version: string, state: Announced } | null> {
    const text = await this.#link.run((client) => client.get(this.#key))
    if (text === null) return { version: '', state: nothingAnnounced() }
    const space = text.indexOf(' ')
    const value = parse(text.slice(space + 1)) as { format?: unknown } & Announced | null
    if (value?.format !== FORMAT) return null
    await this.#link.run((client) => client.pexpire(this.#key, KEPT_MS))
    return { version: text.slice(0, space), state: { known: value.known, outbox: value.outbox } }
  }

  async replace (version: string, state: Announced): Promise<boolean> {
    const text = `${Number(version) + 1} ${JSON.stringify({ format: FORMAT, ...state })}`
    return await this.#link.runScript(replaceVersioned, { keys: [this.#key], args: [version, text, KEPT_MS] }) === 1
  }
}

export class MemorySlot implements Slot {
  state = nothingAnnounced()

  async read (): Promise<{ version: string, state: Announced }> {
    return { version: '', state: this.state }
  }

  async replace (_version: string, state: Announced): Promise<boolean> {
    this.state = state
    return true
  }
}
