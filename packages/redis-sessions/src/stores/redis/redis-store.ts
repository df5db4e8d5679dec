import type { RedisClient, RedisClock, RedisLink, Script, ScriptParameters, ScriptValue, ScriptValues } from '@jpulse/redis-link'
import { unavailable } from '../../errors.ts'
import { newVersion, parseStored, unknownOf, type StoredSession } from '../header.ts'
import type { SessionRef } from '../ids.ts'
import { LONGEST_MS, REPLACED_MS, type EndAllOptions, type EndedAll, type Lifetimes, type ListedSession, type Origin, type ReplaceResult, type Seen, type SessionStore } from '../store.ts'
import type { Keys } from './keys.ts'
import { ReadBatch, type Read } from './read-batch.ts'
import * as scripts from './scripts.ts'
import type { SessionScript } from './scripts.ts'

/** Sessions that are read at once: of the default size these are a megabyte or two, which a slow line takes within the time of a command. */
const SLICE = 100

type SessionKeys = readonly [session: string, watermark: string, index: string, notices: string]

/** Sessions in Redis. One session is one string with the idle timeout as its time to live; see scripts.ts. */
export class RedisStore implements SessionStore {
  readonly mode = 'redis'
  readonly keepsCopies: boolean = false
  readonly #link: RedisLink
  protected readonly keys: Keys
  readonly #lifetimes: Lifetimes
  readonly #tombstoneMs: number
  readonly #clock: RedisClock
  readonly #reads: { read (session: string, watermark: string): Promise<Read> }
  #counting: Promise<number> | undefined
  onExpired: SessionStore['onExpired']

  /** @param tombstoneMs how long an ended session refuses to be restored; 0 where nothing restores */
  constructor (link: RedisLink, keys: Keys, lifetimes: Lifetimes, tombstoneMs = 0) {
    this.#link = link
    this.keys = keys
    this.#lifetimes = lifetimes
    this.#tombstoneMs = tombstoneMs
    this.#clock = link.clock
    const mget = (keys: string[]) => link.run((client) => client.mget(keys))
    // On a Redis Cluster the sessions of different users lie in different slots, where one command cannot read them.
    this.#reads = link.client?.isCluster === true
      ? { read: async (...keys) => await mget(keys) as unknown as Read }
      : new ReadBatch(mget)
  }

  async read (ref: SessionRef): Promise<StoredSession | null> {
    return this.readStored(ref)
  }

  /** Asks Redis, whatever copies there are. One MGET: the session and the watermark of its user share a slot. */
  async readStored (ref: SessionRef): Promise<StoredSession | null> {
    const key = this.keys.session(ref)
    return this.liveOf(await this.#guard(key, () => this.#reads.read(key, this.keys.watermark(ref.tag))))
  }

  /** What was read, as it is stored, where it is valid. */
  protected async liveOf ([text, mark]: Read): Promise<StoredSession | null> {
    // The caller compares its times with `now`.
    if (this.#clock.ready !== null) await this.#clock.ready
    if (text === null) return null
    const stored = parseStored(text)
    // Not taken for absent: SessionRecords tells what it is.
    if (stored === null) return unknownOf(text)
    return stored.stamp > Number(mark ?? 0) ? stored : null
  }

  async create (ref: SessionRef, payload: string, origin?: Origin, { idleTimeoutMs, absoluteTimeoutMs } = this.#lifetimes, notice = ''): Promise<StoredSession | null> {
    const { stamp = '', createdAt = '', touchedAt = '', clock = '' } = origin ?? {}
    const [text, ...expired] = await this.change(scripts.create, ref, [newVersion(), payload, idleTimeoutMs, absoluteTimeoutMs, memberOf(ref), stamp, createdAt, touchedAt, clock, notice]) ?? []
    this.#tell(expired)
    return text === undefined ? null : parseStored(text)
  }

  async replace (ref: SessionRef, version: string, payload: string, { idleTimeoutMs, absoluteTimeoutMs } = this.#lifetimes, isSeen = true): Promise<ReplaceResult> {
    const [code, text = ''] = await this.change(scripts.replace, ref, [version, newVersion(), payload, idleTimeoutMs, absoluteTimeoutMs, memberOf(ref), isSeen ? 1 : 0])
    const stored = parseStored(code === 1 ? text + payload : text)
    if (stored === null) return { outcome: 'gone' }
    return { outcome: code === 1 ? 'saved' : 'conflict', stored }
  }

  async touch (ref: SessionRef, { lifetimes = this.#lifetimes, agoMs = 0 }: Seen = {}): Promise<boolean> {
    const { idleTimeoutMs, absoluteTimeoutMs } = lifetimes
    return await this.change(scripts.touch, ref, [idleTimeoutMs, absoluteTimeoutMs, memberOf(ref), Math.round(agoMs)]) === 1
  }

  async remove (ref: SessionRef): Promise<StoredSession | null> {
    const text = await this.change(scripts.remove, ref, [memberOf(ref), this.#tombstoneMs, this.#standsMs])
    return text === null ? null : parseStored(text)
  }

  /** Forgets a session that was put here with this version, so that it can be put here again; not where somebody wrote to it since. */
  async takeBack (ref: SessionRef, version: string): Promise<void> {
    await this.change(scripts.takeBack, ref, [version, memberOf(ref), this.#standsMs])
  }

  async noteReplaced (ref: SessionRef): Promise<void> {
    const key = this.keys.replaced(ref)
    await this.#ask(key, (client) => client.set(key, '1', 'PX', REPLACED_MS))
  }

  async wasReplaced (ref: SessionRef): Promise<boolean> {
    const key = this.keys.replaced(ref)
    return await this.#ask(key, (client) => client.exists(key)) === 1
  }

  async forgetReplaced (ref: SessionRef): Promise<void> {
    const key = this.keys.replaced(ref)
    await this.#ask(key, (client) => client.unlink(key))
  }

  async missed (ref: SessionRef): Promise<void> {
    if (ref.owned) this.#tell(await this.run(scripts.missed, { keys: this.keysOf(ref), args: [ref.hash] }) ?? [])
  }

  async removeAll (tag: string, { except, ageMs = 0 }: EndAllOptions = {}): Promise<EndedAll> {
    const [text, members] = await this.run(scripts.removeAll, {
      keys: this.#groupKeys(tag, except),
      args: [Math.round(ageMs), this.#standsMs, except === undefined ? '0' : '1', this.#standsMs]
    })
    const mark = Number(text)
    const known = (await this.#load(tag, members)).filter(({ stored }) => stored.stamp <= mark)
    for (let first = 0; first < known.length; first += SLICE) await this.#forget(tag, known.slice(first, first + SLICE).map(({ ref }) => ref))
    return { mark, known }
  }

  /** Carries out again what Redis lost: the sessions of a group with a stamp up to `mark` are void, but for `except`. */
  async endUpTo (tag: string, mark: number, except?: SessionRef): Promise<void> {
    await this.run(scripts.endUpTo, {
      keys: this.#groupKeys(tag, except),
      args: [mark, this.#standsMs, except === undefined ? '0' : '1', this.#standsMs]
    })
  }

  async list (tag: string): Promise<ListedSession[]> {
    const index = this.keys.index(tag)
    const [members, mark] = await this.#ask(index, (client) => Promise.all([client.zrange(index, '0', '-1'), client.get(this.keys.watermark(tag))]))
    const all = await this.#load(tag, members)
    return all.filter(({ stored }) => stored.stamp > Number(mark ?? 0))
  }

  now (): number {
    return this.#clock.now()
  }

  latest (): number {
    return this.#clock.latest()
  }

  /** When a session expires unless it is seen again, by the clock of `now`; null where it is not there. */
  async expiryOf (ref: SessionRef): Promise<number | null> {
    const key = this.keys.session(ref)
    const left = await this.#ask(key, (client) => client.pttl(key))
    return left < 0 ? null : this.now() + left
  }

  /** SCAN over every primary: in proportion to all keys of the database. Parallel calls share one. */
  async count (): Promise<number> {
    this.#counting ??= this.#count().catch((err) => { throw unavailable(err) }).finally(() => { this.#counting = undefined })
    return this.#counting
  }

  async close (): Promise<void> {}

  /** Runs what changes one session. */
  protected change<Reply, const Args extends readonly string[]> (script: SessionScript<Reply, Args>, ref: SessionRef, args: ScriptValues<Args, ScriptValue>): Promise<Reply> {
    return this.run(script, { keys: this.keysOf(ref) as ScriptValues<typeof scripts.KEYS, string>, args })
  }

  /** @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE where it is known that Redis is away, or silent the server that has the key */
  protected checkThere (key: string): void {
    if (this.#link.outages.since(key) !== null) throw unavailable(new Error('Redis is away'))
  }

  /** A logout-all outlives every session that it ended. */
  get #standsMs (): number {
    return Math.max(this.#lifetimes.absoluteTimeoutMs, LONGEST_MS)
  }

  /** Not guarded: a SCAN that is slow says nothing of the reads. */
  async #count (): Promise<number> {
    const [nodes, keyPrefix = ''] = await this.#link.run(async (client) => ['nodes' in client ? client.nodes('master') : [client], client.options.keyPrefix] as const)
    // ioredis puts its prefix before keys and not before patterns.
    const pattern = `${(keyPrefix + this.keys.sessions).replaceAll(/[\\*?[\]]/g, '\\$&')}*`
    const counts = await Promise.all(nodes.map((node) => this.#countOn(node as RedisClient, pattern)))
    return counts.reduce((sum, count) => sum + count, 0)
  }

  async #countOn (node: RedisClient, pattern: string): Promise<number> {
    const keys = new Set<string>()
    let cursor = '0'
    do {
      // Each of its own, since `run` bounds all that it is given by one command timeout.
      const [next, found] = await this.#link.run(() => node.scan(cursor, 'MATCH', pattern, 'COUNT', 1000, 'TYPE', 'string'))
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
      const texts = await this.#ask(this.keys.index(tag), (client) => client.mget(slice.map((ref) => this.keys.session(ref))))
      for (const [index, ref] of slice.entries()) {
        const stored = parseStored(texts[index] ?? '')
        if (stored !== null) found.push({ ref, stored })
      }
    }
    return found
  }

  async #forget (tag: string, refs: SessionRef[]): Promise<void> {
    await this.#ask(this.keys.index(tag), (client) => Promise.all([
      client.unlink(...refs.map((ref) => this.keys.session(ref))),
      client.zrem(this.keys.index(tag), ...refs.map(({ hash }) => hash))
    ]))
  }

  /** @param found hash, time and notice of each session */
  #tell (found: string[]): void {
    if (found.length === 0) return
    this.onExpired?.(Array.from({ length: found.length / 3 }, (_, index) => {
      const [hash, expiredAt, notice] = found.slice(3 * index) as [string, string, string]
      return { hash, notice, expiredAt: Number(expiredAt) }
    }))
  }

  protected keysOf ({ tag, ...ref }: SessionRef): SessionKeys {
    return [this.keys.session({ tag, ...ref }), this.keys.watermark(tag), this.keys.index(tag), this.keys.notices(tag)]
  }

  /** With the watermark again where there is no session to keep. */
  #groupKeys (tag: string, kept: SessionRef | undefined): SessionKeys {
    const watermark = this.keys.watermark(tag)
    return [kept === undefined ? watermark : this.keys.session(kept), watermark, this.keys.index(tag), this.keys.notices(tag)]
  }

  protected run<Reply, const Keys extends readonly string[], const Args extends readonly string[]> (script: Script<Reply, Keys, Args>, parameters: ScriptParameters<Keys, Args>): Promise<Reply> {
    // All keys are of one slot.
    return this.#guard((parameters.keys as readonly string[])[0]!, () => this.#link.runScript(script, parameters))
  }

  #ask<T> (key: string, command: (client: RedisClient) => Promise<T>): Promise<T> {
    return this.#guard(key, () => this.#link.run((client) => command(client)))
  }

  /** Of a silent server only the first request waits. */
  async #guard<T> (key: string, ask: () => Promise<T>): Promise<T> {
    try {
      return await this.#link.outages.guard(key, ask)
    } catch (err) {
      throw unavailable(err)
    }
  }
}

function memberOf ({ hash, owned }: SessionRef): string {
  return owned ? hash : ''
}
