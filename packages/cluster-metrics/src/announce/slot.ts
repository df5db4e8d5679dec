import type { RedisLink } from '@jpulse/redis-link'
import { parse } from '../formats/index.ts'
import { replaceVersioned } from '../store/index.ts'
import type { HealthEvent } from './events.ts'
import { NOTHING_KNOWN, type Known } from './transitions.ts'

/** Events that are to be told together, once. */
export interface Batch {
  id: string
  at: number
  events: HealthEvent[]
  /** Attempts that failed, and when the next one may be. */
  attempts: number
  notBefore: number
}

/** What has been told to an audience, and what still is to be. */
export interface Told {
  known: Known
  outbox: Batch[]
}

/** Where it is kept: in Redis for all, or in the process for one that is alone. */
export interface Slot {
  /** Null where it cannot be read: a newer release wrote it. */
  read (): Promise<{ version: string, told: Told } | null>
  /** False where somebody else has replaced it. */
  replace (version: string, told: Told): Promise<boolean>
}

const FORMAT = 1
/** Longer than any pause of all instances that is not the end of the cluster. */
const KEPT_MS = 7 * 24 * 3600_000

export const nothingTold = (): Told => ({ known: NOTHING_KNOWN, outbox: [] })

export class RedisSlot implements Slot {
  readonly #link: RedisLink
  readonly #key: string

  constructor (link: RedisLink, key: string) {
    this.#link = link
    this.#key = key
  }

  async read (): Promise<{ version: string, told: Told } | null> {
    const text = await this.#link.run((client) => client.get(this.#key))
    if (text === null) return { version: '', told: nothingTold() }
    const space = text.indexOf(' ')
    const value = parse(text.slice(space + 1)) as { format?: unknown } & Told | null
    if (value?.format !== FORMAT) return null
    await this.#link.run((client) => client.pexpire(this.#key, KEPT_MS))
    return { version: text.slice(0, space), told: { known: value.known, outbox: value.outbox } }
  }

  async replace (version: string, told: Told): Promise<boolean> {
    const text = `${Number(version) + 1} ${JSON.stringify({ format: FORMAT, ...told })}`
    return await this.#link.runScript(replaceVersioned, { keys: [this.#key], args: [version, text, KEPT_MS] }) === 1
  }
}

export class MemorySlot implements Slot {
  told = nothingTold()

  async read (): Promise<{ version: string, told: Told }> {
    return { version: '', told: this.told }
  }

  async replace (_version: string, told: Told): Promise<boolean> {
    this.told = told
    return true
  }
}
