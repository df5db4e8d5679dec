import type { Connection } from './connection.ts'
import { Deadlines } from './deadlines.ts'
import { uniqueId } from './id.ts'
import type { CacheKeys } from './keys.ts'
import type { Found, L2 } from './l2.ts'
import type { Member } from './member.ts'
import { scriptArgs } from './scripts.ts'

/** A value as Redis keeps it. */
export const stored = (generations: string, text: string): string => `${generations}|${text}`

/**
 * Values in Redis as "generations|JSON". A value is good while the generations of its tags are the ones it was loaded
 * under; a generation of a blocked tag begins with '!', one of another epoch with another nonce.
 */
export class RedisL2 implements L2 {
  readonly #connection: Connection
  readonly #keys: CacheKeys
  readonly #member: Member
  /** A slow Redis must not cost a read more than it could save. */
  readonly #deadlines: Deadlines
  readonly #generationTtlMs: number

  constructor (connection: Connection, keys: CacheKeys, member: Member, timeoutMs: number, generationTtlMs: number) {
    this.#connection = connection
    this.#keys = keys
    this.#member = member
    this.#deadlines = new Deadlines(timeoutMs)
    this.#generationTtlMs = generationTtlMs
  }

  async read (key: string, tags: readonly string[]): Promise<Found | null> {
    const { version } = this.#connection
    const { nonce } = this.#member
    if (nonce === null || !this.#connection.isUp) return null
    const found = await this.#deadlines.within(this.#look(nonce, key, tags))
    // Answers from a connection that broke meanwhile may come from Redis' life before or after this epoch.
    return version === this.#connection.version && nonce === this.#member.nonce ? found : null
  }

  write (key: string, generations: string, text: string, ttlMs: number): void {
    const name = this.#keys.value(this.#member.space, key)
    this.#connection.run((client) => client.set(name, stored(generations, text), 'PX', ttlMs)).catch(() => {})
  }

  async #look (nonce: string, key: string, tags: readonly string[]): Promise<Found | null> {
    let value: string | null
    let generations: string | null
    if (this.#connection.isCluster) {
      // The value lies elsewhere: it is read first, so that equal generations afterwards prove it current. The script
      // makes sure that the node which tells them has not just taken over with older ones.
      value = await this.#connection.run((client) => client.get(this.#keys.value(this.#member.space, key)))
      generations = await this.#make(nonce, tags)
    } else {
      // Value and generations of one moment, in one command (benchmarks/config-cache/l2.bench.js).
      const names = [this.#keys.value(this.#member.space, key)]
      for (const tag of tags) names.push(this.#keys.generation(tag))
      const found = await this.#connection.run((client) => client.mget(...names))
      value = found.shift() ?? null
      generations = joined(found, `${nonce}.`) ?? await this.#make(nonce, tags)
    }
    if (generations === null || generations.includes('!')) return null
    if (value?.startsWith(generations) === true && value[generations.length] === '|') return { text: value.slice(generations.length + 1) }
    return { generations }
  }

  /** Null in another epoch. */
  async #make (nonce: string, tags: readonly string[]): Promise<string | null> {
    const found = await this.#connection.run((client) => client.configCacheGenerationsV1(...scriptArgs(
      [...this.#keys.core, ...tags.map((tag) => this.#keys.generation(tag))], [uniqueId(), nonce, this.#generationTtlMs, ...tags])))
    return found.length === tags.length ? found.join() : null
  }
}

/** The generations as one text; null where one is missing or of another epoch, a block's mark of that epoch too. */
function joined (found: ReadonlyArray<string | null>, epoch: string): string | null {
  for (const one of found) if (one === null || !one.startsWith(epoch, one.startsWith('!') ? 1 : 0)) return null
  return found.length === 1 ? found[0]! : found.join()
}
