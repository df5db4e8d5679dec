import { uniqueId } from '../id.ts'
import type { Notices } from '../notices.ts'
import { ReadLimit } from './read-limit.ts'
import { RemainingTtls } from './remaining.ts'
import { fieldsOf, generationsScript, stored, type SharedState } from '../coherence/index.ts'

/** What the shared level answered: the value's text, or what a fill needs. */
export type Found =
  | { readonly text: string }
  | { readonly text?: undefined, readonly generations: string }

/** The level that all instances share. */
export interface L2 {
  /**
   * @returns null where it cannot be used now: not reachable in time, or a tag is blocked
   */
  read (key: string, tags: readonly string[]): Promise<Found | null>
  /** Stores a value under the generations that were read before its load. Never rejects. */
  write (key: string, generations: string, text: string, ttlMs: number): void
  /** Remaining TTL of a value in milliseconds; 0 where it is not known. Never rejects. */
  remainingMs (key: string): Promise<number>
}

/**
 * Values in Redis as "generations|JSON". A value is good while the generations of its tags are the ones it was loaded
 * under; a generation of a blocked tag begins with '!', one of another epoch with another nonce.
 */
export class RedisL2 implements L2 {
  readonly #state: SharedState
  readonly #notices: Notices
  /** Bounds how long a read waits for a slow Redis. */
  readonly #limit: ReadLimit
  readonly #generationTtlMs: number
  readonly #remaining: RemainingTtls

  constructor (state: SharedState, notices: Notices, timeoutMs: number, generationTtlMs: number) {
    this.#state = state
    this.#notices = notices
    this.#limit = new ReadLimit(timeoutMs)
    this.#generationTtlMs = generationTtlMs
    this.#remaining = new RemainingTtls(state)
  }

  async read (key: string, tags: readonly string[]): Promise<Found | null> {
    const { connection, nonce } = this.#state
    const { version } = connection
    if (nonce === null || !connection.isUp) return null
    const found = await this.#limit.within(this.#lookUp(nonce, key, tags), (reason) => {
      // A connection that ended is reported by the mode.
      if (version === connection.version) this.#notices.unshared(key, reason)
    })
    // Answers from a connection that broke meanwhile may come from the server as it was before or after this epoch.
    return version === connection.version && nonce === this.#state.nonce ? found : null
  }

  write (key: string, generations: string, text: string, ttlMs: number): void {
    const { connection, space } = this.#state
    const { version } = connection
    const name = connection.keys.value(space, key)
    connection.run((client) => client.set(name, stored(generations, text), 'PX', ttlMs)).catch((err: Error) => {
      if (version === connection.version) this.#notices.unshared(key, err.message)
    })
  }

  remainingMs (key: string): Promise<number> {
    const { connection, space } = this.#state
    return this.#remaining.of(connection.keys.value(space, key))
  }

  async #lookUp (nonce: string, key: string, tags: readonly string[]): Promise<Found | null> {
    const { connection, space } = this.#state
    let value: string | null
    let generations: string | null
    if (connection.isCluster) {
      // The value lies elsewhere: it is read first, so that equal generations afterwards prove it current. The script
      // makes sure that the node which tells them has not just taken over with older ones.
      value = await connection.run((client) => client.get(connection.keys.value(space, key)))
      generations = await this.#make(nonce, tags)
    } else {
      // Value and generations of one moment, in one command (benchmarks/config-cache/l2.bench.js).
      const names = [connection.keys.value(space, key)]
      for (const tag of tags) names.push(connection.keys.generation(tag))
      const found = await connection.run((client) => client.mget(...names))
      value = found.shift() ?? null
      generations = joined(found, `${nonce}.`) ?? await this.#make(nonce, tags)
    }
    if (generations === null || generations.includes('!')) return null
    if (value?.startsWith(generations) === true && value[generations.length] === '|') return { text: value.slice(generations.length + 1) }
    return { generations }
  }

  /** Null in another epoch. */
  async #make (nonce: string, tags: readonly string[]): Promise<string | null> {
    const { connection } = this.#state
    const found = await connection.script(generationsScript, connection.keys.withGenerations(tags),
      uniqueId(), nonce, this.#generationTtlMs, ...fieldsOf(tags))
    return found.length === tags.length ? found.join() : null
  }
}

/** The generations as one text; null where one is missing or of another epoch, a block's mark of that epoch too. */
function joined (found: ReadonlyArray<string | null>, epoch: string): string | null {
  for (const one of found) if (one === null || !one.startsWith(epoch, one.startsWith('!') ? 1 : 0)) return null
  return found.length === 1 ? found[0]! : found.join()
}
