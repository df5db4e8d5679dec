import type { Connection } from './connection.ts'
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
  readonly #timeoutMs: number
  readonly #generationTtlMs: number

  constructor (connection: Connection, keys: CacheKeys, member: Member, timeoutMs: number, generationTtlMs: number) {
    this.#connection = connection
    this.#keys = keys
    this.#member = member
    this.#timeoutMs = timeoutMs
    this.#generationTtlMs = generationTtlMs
  }

  async read (key: string, tags: readonly string[]): Promise<Found | null> {
    const { version } = this.#connection
    const { nonce } = this.#member
    if (nonce === null || !this.#connection.isUp) return null
    const found = await this.#inTime(this.#look(nonce, key, tags))
    // Answers from a connection that broke meanwhile may come from Redis' life before or after this epoch.
    return version === this.#connection.version && nonce === this.#member.nonce ? found : null
  }

  write (key: string, generations: string, text: string, ttlMs: number): void {
    const name = this.#keys.value(this.#member.space, key)
    this.#connection.run((client) => client.set(name, stored(generations, text), 'PX', ttlMs)).catch(() => {})
  }

  async #look (nonce: string, key: string, tags: readonly string[]): Promise<Found | null> {
    const { value, generations } = this.#connection.isCluster
      ? await this.#lookTwice(nonce, key, tags)
      : await this.#lookOnce(nonce, key, tags)
    if (generations === null || generations.includes('!')) return null
    if (value?.startsWith(generations) === true && value[generations.length] === '|') return { text: value.slice(generations.length + 1) }
    return { generations }
  }

  /** Value and generations of one moment, in one command (benchmarks/config-cache/l2.bench.js). */
  async #lookOnce (nonce: string, key: string, tags: readonly string[]) {
    const names = [this.#keys.value(this.#member.space, key), ...tags.map((tag) => this.#keys.generation(tag))]
    const [value, ...found] = await this.#connection.run((client) => client.mget(names))
    const known = found.every((one) => one !== null && (one.startsWith(`${nonce}.`) || one.startsWith('!')))
    return { value: value ?? null, generations: known ? found.join() : await this.#make(nonce, tags) }
  }

  /**
   * On a Redis Cluster the value lies elsewhere: it is read first, so that equal generations afterwards prove it current.
   * The script makes sure that the node which tells them has not just taken over with older ones.
   */
  async #lookTwice (nonce: string, key: string, tags: readonly string[]) {
    const value = await this.#connection.run((client) => client.get(this.#keys.value(this.#member.space, key)))
    return { value, generations: await this.#make(nonce, tags) }
  }

  /** Null in another epoch. */
  async #make (nonce: string, tags: readonly string[]): Promise<string | null> {
    const found = await this.#connection.run((client) => client.configCacheGenerationsV1(...scriptArgs(
      [...this.#keys.core, ...tags.map((tag) => this.#keys.generation(tag))], [uniqueId(), nonce, this.#generationTtlMs, ...tags])))
    return found.length === tags.length ? found.join() : null
  }

  /** A slow Redis must not cost a read more than it could save. */
  async #inTime (look: Promise<Found | null>): Promise<Found | null> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<null>((resolve) => { timer = setTimeout(resolve, this.#timeoutMs, null) })
    try {
      return await Promise.race([look, late])
    } catch {
      return null
    } finally {
      clearTimeout(timer)
    }
  }
}
