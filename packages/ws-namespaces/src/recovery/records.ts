import type { RedisLink } from '@jpulse/redis-link'
import { formatOffset, parseOffset, type Place } from '../delivery/carrier.ts'
import { Keys } from '../delivery/keys.ts'

/** Since when a client is in a room. */
export interface Membership {
  /** Null where nobody could tell. */
  readonly since: Place | null
  /** Whether the client chose it, so that it is asked again whether it may. */
  readonly byClient: boolean
}

/** What is recorded of a client for its next connection. */
export interface ClientRecord {
  readonly userId: string | null
  readonly rooms: ReadonlyMap<string, Membership>
}

/** `before`: a process of the release before, which keeps no records, may have served the client. */
export type Known = ClientRecord | 'unknown' | 'before'

/** Records of the clients of one namespace with history, kept for as long as they may resume, on any worker. */
export interface Records {
  /** Without the rooms that the user was put out of meanwhile. Rejects while Redis is away. */
  read (clientId: string, userId: string | null): Promise<Known>
  write (clientId: string, record: ClientRecord): Promise<void>
  /** A user was put out of a room, also where no connection of it stands. */
  leave (userId: string, room: string, place: Place): Promise<void>
}

/** Where no Redis is configured. */
export class MemoryRecords implements Records {
  readonly #ttlMs: number
  readonly #records = new Map<string, { record: ClientRecord & { rooms: Map<string, Membership> }, until: number }>()

  constructor (ttlMs: number) {
    this.#ttlMs = ttlMs
  }

  async read (clientId: string): Promise<Known> {
    const found = this.#records.get(clientId)
    return found === undefined || found.until < performance.now() ? 'unknown' : found.record
  }

  async leave (userId: string, room: string): Promise<void> {
    for (const { record } of this.#records.values()) if (record.userId === userId) record.rooms.delete(room)
  }

  async write (clientId: string, { userId, rooms }: ClientRecord): Promise<void> {
    const now = performance.now()
    // Least recently written first.
    this.#records.delete(clientId)
    this.#records.set(clientId, { record: { userId, rooms: new Map(rooms) }, until: now + this.#ttlMs })
    for (const [oldest, { until }] of this.#records) {
      if (until >= now) break
      this.#records.delete(oldest)
    }
  }
}

/** A deploy that runs both releases beside each other is over by then. */
const DEPLOY_MS = 3_600_000
const BEGAN_TTL_MS = 30 * 24 * 3_600_000

/** In Redis: a string for each client, JSON with its version, and one that says since when there are any. */
export class RedisRecords implements Records {
  readonly #link: RedisLink
  readonly #keys: Keys
  readonly #ttlMs: number
  #began = false

  constructor (link: RedisLink, namespace: string, ttlMs: number) {
    this.#link = link
    this.#keys = new Keys(link, namespace)
    this.#ttlMs = ttlMs
  }

  async read (clientId: string, userId: string | null): Promise<Known> {
    const [[text, began], left] = await this.#link.run((client) => Promise.all([
      client.mget(this.#keys.client(clientId), this.#keys.records),
      userId === null ? {} as Record<string, string> : client.hgetall(this.#keys.left(userId))
    ]))
    const record = parse(text ?? null)
    if (record === null) return text == null && Number(began ?? Date.now()) > Date.now() - DEPLOY_MS ? 'before' : 'unknown'
    return { ...record, rooms: new Map([...record.rooms].filter(([room, { since }]) => !isLeft(since, left[room]))) }
  }

  async leave (userId: string, room: string, place: Place): Promise<void> {
    const key = this.#keys.left(userId)
    await this.#link.run(async (client) => {
      await client.hset(key, room, formatOffset(place))
      await client.pexpire(key, this.#ttlMs)
    })
  }

  async write (clientId: string, { userId, rooms }: ClientRecord): Promise<void> {
    const list = [...rooms].map(([room, { since, byClient }]) => [room, since?.epoch ?? null, since?.seq ?? 0, byClient ? 1 : 0])
    const json = JSON.stringify({ v: 1, userId, rooms: list })
    await this.#link.run(async (client) => {
      if (!this.#began) await client.set(this.#keys.records, Date.now(), 'PX', BEGAN_TTL_MS, 'NX')
      this.#began = true
      await client.set(this.#keys.client(clientId), json, 'PX', this.#ttlMs)
    })
  }
}

/** Who came again after that has a later place. */
function isLeft (since: Place | null, offset: string | undefined): boolean {
  const left = parseOffset(offset ?? null)
  return left !== null && (since === null || since.epoch !== left.epoch || since.seq <= left.seq)
}

/** Null where it is none that this release reads. */
function parse (text: string | null): ClientRecord | null {
  try {
    const { v, userId, rooms } = JSON.parse(text ?? '{}') as { v?: unknown, userId: string | null, rooms: Array<[string, string | null, number, number]> }
    if (v !== 1) return null
    return { userId, rooms: new Map(rooms.map(([room, epoch, seq, byClient]) => [room, { since: epoch === null ? null : { epoch, seq }, byClient: byClient === 1 }])) }
  } catch {
    return null
  }
}
