import { defineScript, reply, type RedisLink } from '@jpulse/redis-link'
import { formatOffset, parseOffset, type Place } from '../delivery/carrier.ts'
import { Keys } from '../delivery/keys.ts'
import type { History } from '../options.ts'

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

/** Records of the clients of one namespace with history, kept for as long as they may resume, on any worker. */
export interface Records {
  /** Without the rooms that the user was put out of meanwhile; null where there is none. Rejects while Redis is away. */
  read (clientId: string, userId: string | null): Promise<ClientRecord | null>
  write (clientId: string, record: ClientRecord): Promise<void>
  /** A user was put out of a room, also where no connection of it stands. */
  leave (userId: string, room: string, place: Place): Promise<void>
}

/** Characters of all rooms' names, and some for each. Beyond them the client that was recorded first is forgotten, and told so where it missed something in a room. */
const MOST_CHARACTERS = 32 * 1024 * 1024
const PER_ROOM = 100

/** Where no Redis is configured. */
export class MemoryRecords implements Records {
  readonly #ttlMs: number
  readonly #most: number
  #size = 0
  readonly #records = new Map<string, { record: ClientRecord & { rooms: Map<string, Membership> }, until: number, size: number }>()

  constructor (ttlMs: number, most = MOST_CHARACTERS) {
    this.#ttlMs = ttlMs
    this.#most = most
  }

  async read (clientId: string): Promise<ClientRecord | null> {
    const found = this.#records.get(clientId)
    return found === undefined || found.until < performance.now() ? null : found.record
  }

  async leave (userId: string, room: string): Promise<void> {
    for (const { record } of this.#records.values()) if (record.userId === userId) record.rooms.delete(room)
  }

  async write (clientId: string, { userId, rooms }: ClientRecord): Promise<void> {
    const now = performance.now()
    const size = [...rooms.keys()].reduce((sum, room) => sum + room.length + PER_ROOM, PER_ROOM)
    // Least recently written first.
    this.#forget(clientId)
    this.#records.set(clientId, { record: { userId, rooms: new Map(rooms) }, until: now + this.#ttlMs, size })
    this.#size += size
    for (const [oldest, { until }] of this.#records) {
      if (until >= now && this.#size <= this.#most) break
      this.#forget(oldest)
    }
  }

  #forget (clientId: string): void {
    this.#size -= this.#records.get(clientId)?.size ?? 0
    this.#records.delete(clientId)
  }
}

/**
 * Notes where the log was when a user was put out of a room. Returns 1.
 *
 * Closes: HSET and PEXPIRE as two commands leave a hash that never expires where the process dies between them.
 */
const leaveRoom = defineScript({
  name: 'wsNamespacesLeaveRoomV1',
  keys: ['left'],
  args: ['room', 'offset', 'ttlMs'],
  reply: reply<number>(),
  lua: `
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
`
})

/** In Redis: a string for each client, JSON with its version. */
export class RedisRecords implements Records {
  readonly #link: RedisLink
  readonly #keys: Keys
  readonly #ttlMs: number

  constructor (link: RedisLink, namespace: string, { id, stateMs }: History) {
    this.#link = link
    this.#keys = new Keys(link, namespace, id)
    this.#ttlMs = stateMs
  }

  async read (clientId: string, userId: string | null): Promise<ClientRecord | null> {
    const record = parse(await this.#link.run((client) => client.get(this.#keys.client(clientId))))
    if (record === null || userId === null || record.rooms.size === 0) return record
    // Of its own rooms only: a user may have been put out of any number.
    const left = await this.#link.run((client) => client.hmget(this.#keys.left(userId), ...record.rooms.keys()))
    return { ...record, rooms: new Map([...record.rooms].filter(([, { since }], index) => !isLeft(since, left[index]))) }
  }

  async leave (userId: string, room: string, place: Place): Promise<void> {
    await this.#link.runScript(leaveRoom, { keys: [this.#keys.left(userId)], args: [room, formatOffset(place), this.#ttlMs] })
  }

  async write (clientId: string, { userId, rooms }: ClientRecord): Promise<void> {
    const list = [...rooms].map(([room, { since, byClient }]) => [room, since?.epoch ?? null, since?.seq ?? 0, byClient ? 1 : 0])
    const json = JSON.stringify({ v: 1, userId, rooms: list })
    await this.#link.run((client) => client.set(this.#keys.client(clientId), json, 'PX', this.#ttlMs))
  }
}

/** Who came again after that has a later place. */
function isLeft (since: Place | null, offset: string | null | undefined): boolean {
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
