import type { RedisClient, RedisLink } from '@jpulse/redis-link'
import { Breaker } from './breaker.ts'
import { unavailable } from '../../errors.ts'
import { newVersion, parseStored, type StoredSession } from '../header.ts'
import type { SessionRef } from '../ids.ts'
import type { Keys } from './keys.ts'
import { ReadBatch, type Read } from './read-batch.ts'
import { defineScripts, type SessionCommands } from './scripts.ts'
import type { EndAllOptions, EndedAll, Lifetimes, ListedSession, Origin, ReplaceResult, SessionStore } from '../store.ts'

const SLICE = 500

type Client = RedisClient & SessionCommands

/** Sessions in Redis. One session is one string with the idle timeout as its time to live; see scripts.ts. */
export class RedisStore implements SessionStore {
  readonly mode = 'redis'
  readonly #link: RedisLink
  readonly #keys: Keys
  readonly #lifetimes: Lifetimes
  readonly #tombstoneMs: number
  readonly #breaker: Breaker
  readonly #reads: { read (session: string, watermark: string): Promise<Read> }
  #counting: Promise<number> | undefined

  /** @param tombstoneMs how long an ended session refuses to be restored; 0 where nothing restores */
  constructor (link: RedisLink, keys: Keys, lifetimes: Lifetimes, tombstoneMs = 0) {
    this.#link = link
    this.#keys = keys
    this.#lifetimes = lifetimes
    this.#tombstoneMs = tombstoneMs
    this.#breaker = new Breaker(link)
    const mget = (keys: string[]) => link.run((client) => client.mget(keys))
    // On a Redis Cluster the sessions of different users lie in different slots, where one command cannot read them.
    this.#reads = link.client !== null && 'nodes' in link.client
      ? { read: async (...keys) => await mget(keys) as unknown as Read }
      : new ReadBatch(mget)
    if (link.client !== null) defineScripts(link.client)
  }

  /** One MGET: the session and the watermark of its user share a slot. */
  async read (ref: SessionRef): Promise<StoredSession | null> {
    const [text, mark] = await this.#guard(ref.tag, () => this.#reads.read(this.#keys.session(ref), this.#keys.watermark(ref.tag)))
    return this.#live(text, mark)
  }

  async create (ref: SessionRef, payload: string, origin?: Origin): Promise<StoredSession | null> {
    const { idleTimeoutMs, absoluteTimeoutMs } = this.#lifetimes
    const from = origin === undefined ? ['', '', '', ''] : [origin.stamp, origin.createdAt, origin.touchedAt ?? '', origin.clock ?? '']
    const text = await this.#run(ref.tag, (client) => client.redisSessionsCreateV1(...this.#keysOf(ref),
      newVersion(), payload, idleTimeoutMs, absoluteTimeoutMs, memberOf(ref), ...from))
    return text === null ? null : parseStored(text)
  }

  async replace (ref: SessionRef, version: string, payload: string): Promise<ReplaceResult> {
    const { idleTimeoutMs, absoluteTimeoutMs } = this.#lifetimes
    const [code, text = ''] = await this.#run(ref.tag, (client) => client.redisSessionsReplaceV1(...this.#keysOf(ref),
      version, newVersion(), payload, idleTimeoutMs, absoluteTimeoutMs, memberOf(ref)))
    const stored = parseStored(code === 1 ? text + payload : text)
    if (stored === null) return { outcome: 'gone' }
    return { outcome: code === 1 ? 'saved' : 'conflict', stored }
  }

  async touch (ref: SessionRef): Promise<boolean> {
    const { idleTimeoutMs, absoluteTimeoutMs } = this.#lifetimes
    return await this.#run(ref.tag, (client) => client.redisSessionsTouchV1(...this.#keysOf(ref),
      idleTimeoutMs, absoluteTimeoutMs, memberOf(ref))) === 1
  }

  async remove (ref: SessionRef): Promise<StoredSession | null> {
    const text = await this.#run(ref.tag, (client) => client.redisSessionsRemoveV1(...this.#keysOf(ref),
      memberOf(ref), this.#tombstoneMs, this.#lifetimes.absoluteTimeoutMs))
    return text === null ? null : parseStored(text)
  }

  async removeAll (tag: string, { except, ageMs = 0 }: EndAllOptions = {}): Promise<EndedAll> {
    const { absoluteTimeoutMs } = this.#lifetimes
    const watermark = this.#keys.watermark(tag)
    const [text, members] = await this.#run(tag, (client) => client.redisSessionsRemoveAllV1(
      except === undefined ? watermark : this.#keys.session(except), watermark, this.#keys.index(tag),
      Math.round(ageMs), absoluteTimeoutMs, except === undefined ? '0' : '1', absoluteTimeoutMs))
    const mark = Number(text)
    const ended = (await this.#load(tag, members)).filter(({ stored }) => stored.stamp <= mark)
    for (let first = 0; first < ended.length; first += SLICE) await this.#forget(tag, ended.slice(first, first + SLICE).map(({ ref }) => ref))
    return { mark, known: ended.filter(({ stored }) => this.#inTime(stored)) }
  }

  /** Carries out again what Redis lost: the sessions of a group with a stamp up to `mark` are void, but for `except`. */
  async endUpTo (tag: string, mark: number, except?: SessionRef): Promise<void> {
    const { absoluteTimeoutMs } = this.#lifetimes
    const watermark = this.#keys.watermark(tag)
    await this.#run(tag, (client) => client.redisSessionsEndUpToV1(
      except === undefined ? watermark : this.#keys.session(except), watermark, this.#keys.index(tag),
      mark, absoluteTimeoutMs, except === undefined ? '0' : '1', absoluteTimeoutMs))
  }

  async list (tag: string): Promise<ListedSession[]> {
    const [members, mark] = await this.#run(tag, (client) => Promise.all([
      client.zrange(this.#keys.index(tag), '0', '-1'), client.get(this.#keys.watermark(tag))
    ]))
    const all = await this.#load(tag, members)
    return all.filter(({ stored }) => this.#inTime(stored) && stored.stamp > Number(mark ?? 0))
  }

  /** SCAN over every primary: in proportion to all keys of the database. Parallel calls share one. */
  async count (): Promise<number> {
    this.#counting ??= this.#count().catch((err) => { throw unavailable(err) }).finally(() => { this.#counting = undefined })
    return this.#counting
  }

  async close (): Promise<void> {
    this.#breaker.stop()
  }

  /** Past the breaker: a SCAN that is slow says nothing of the reads. */
  async #count (): Promise<number> {
    const nodes = await this.#link.run(async (client) => 'nodes' in client ? client.nodes('master') : [client])
    const counts = await Promise.all(nodes.map((node) => this.#countOn(node as RedisClient)))
    return counts.reduce((sum, count) => sum + count, 0)
  }

  async #countOn (node: RedisClient): Promise<number> {
    const keys = new Set<string>()
    let cursor = '0'
    do {
      // Each of its own, since `run` bounds all that it is given by one command timeout.
      const [next, found] = await this.#link.run(() => node.scan(cursor, 'MATCH', `${this.#keys.sessions}*`, 'COUNT', 1000, 'TYPE', 'string'))
      // SCAN may name a key twice.
      for (const key of found) keys.add(key)
      cursor = next
    } while (cursor !== '0')
    return keys.size
  }

  /** Reads the sessions of a group by their hashes; what is gone or garbage is left out. */
  async #load (tag: string, members: string[]): Promise<ListedSession[]> {
    const refs = members.map((hash): SessionRef => ({ hash, tag, owned: true }))
    const found: ListedSession[] = []
    for (let first = 0; first < refs.length; first += SLICE) {
      const slice = refs.slice(first, first + SLICE)
      const texts = await this.#run(tag, (client) => client.mget(slice.map((ref) => this.#keys.session(ref))))
      for (const [index, ref] of slice.entries()) {
        const stored = parseStored(texts[index] ?? '')
        if (stored !== null) found.push({ ref, stored })
      }
    }
    return found
  }

  async #forget (tag: string, refs: SessionRef[]): Promise<void> {
    await this.#run(tag, (client) => Promise.all([
      client.unlink(...refs.map((ref) => this.#keys.session(ref))),
      client.zrem(this.#keys.index(tag), ...refs.map(({ hash }) => hash))
    ]))
  }

  /** A text that is not a session (garbage) is handed on for the vault to log. */
  #live (text: string | null | undefined, mark: string | null | undefined): StoredSession | null {
    if (text === null || text === undefined) return null
    const stored = parseStored(text)
    if (stored === null) return { version: '', stamp: 0, createdAt: 0, touchedAt: 0, payload: '' }
    return stored.stamp > Number(mark ?? 0) && this.#inTime(stored) ? stored : null
  }

  #inTime ({ createdAt }: StoredSession): boolean {
    return createdAt + this.#lifetimes.absoluteTimeoutMs > Date.now()
  }

  #keysOf (ref: SessionRef): [session: string, watermark: string, index: string] {
    return [this.#keys.session(ref), this.#keys.watermark(ref.tag), this.#keys.index(ref.tag)]
  }

  #run<T> (tag: string, command: (client: Client) => Promise<T>): Promise<T> {
    return this.#guard(tag, () => this.#link.run((client) => command(client as unknown as Client)))
  }

  async #guard<T> (tag: string, ask: () => Promise<T>): Promise<T> {
    const node = this.#breaker.nodeOf(tag)
    if (this.#breaker.isOpen(node)) throw unavailable(new Error('Redis did not answer an earlier command'))
    try {
      return await ask()
    } catch (err) {
      if ((err as { code?: unknown }).code === 'FST_ERR_REDIS_LINK_TIMEOUT') this.#breaker.trip(node)
      throw unavailable(err)
    }
  }
}

function memberOf ({ hash, owned }: SessionRef): string {
  return owned ? hash : ''
}
