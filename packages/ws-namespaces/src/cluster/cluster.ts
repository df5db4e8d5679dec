import type { InternalBroadcast, Unsubscribe } from '@jpulse/cluster-broadcast'
import type { RedisLink } from '@jpulse/redis-link'
import type { Topic } from '../delivery/keys.ts'
import { noDrops, type LocalStats } from '../namespace/hub.ts'
import type { Hubs } from '../namespace/hubs.ts'
import type { Drops } from '../namespace/peer.ts'
import type { Present } from '../presence/presence.ts'
import { Frame, type Envelope } from '../delivery/frame.ts'

/** A namespace in the whole cluster. */
export interface NamespaceStats {
  users: number
  connections: number
  messages: number
  rooms: number
  /** How many instances have connections to it; `online` and `presence` name theirs. */
  instances: number
  drops: Drops
  /** `red`: Redis is away, so this is one process' view. `yellow`: an instance did not answer, or with an error. */
  status: 'green' | 'yellow' | 'red'
  lastActivity: number | null
}

/** A connection of a user, wherever it is. */
export interface ConnectionInfo {
  clientId: string
  /** The instance that has it. */
  instance: string
  rooms: string[]
}

export type ClusterStats = Record<string, NamespaceStats>

/** What one process asks all of them, this one included. */
type Ask =
  | { readonly op: 'connections', readonly namespace: string, readonly userId: string }
  | { readonly op: 'join' | 'leave', readonly namespace: string, readonly userId: string, readonly room: string }
  | { readonly op: 'stats', readonly namespace?: string }
  | { readonly op: 'users', readonly namespace: string, readonly room?: string, readonly userId?: string }
  | { readonly op: 'rooms', readonly namespace: string }
  | { readonly op: 'send', readonly namespace: string, readonly userId: string, readonly json: string }
  | { readonly op: 'sendRoom', readonly namespace: string, readonly room: string, readonly json: string }
  | { readonly op: 'replace', readonly namespace: string, readonly userId: string, readonly clientId: string, readonly by: string }
  | { readonly op: 'disconnect', readonly namespace: string, readonly userId: string, readonly code: number, readonly reason: string }

const CHANNEL = 'ws:ask'
const OPS: ReadonlySet<string> = new Set<Ask['op']>(['connections', 'join', 'leave', 'stats', 'users', 'rooms', 'send', 'sendRoom', 'replace', 'disconnect'])
const ASK_MS = 2000
/** Logged, so that an instance that reconnects just then gets them. */
const LOGGED: ReadonlySet<Ask['op']> = new Set(['disconnect', 'join', 'leave'])
/** Others are of use now only, and would push messages out of the log. */
const LOOK_UP = { timeoutMs: ASK_MS, replay: false }

/** Of all registrations of the plugin on one cluster-broadcast: a process gives one answer, so the first of them gives it for all. */
const related = new WeakMap<object, Set<Hubs>>()

/** Asks all processes for what they know, or to do something, and answers them. */
export class Cluster {
  readonly #bus: InternalBroadcast
  readonly #link: RedisLink
  readonly #hubs: Hubs
  readonly #bootId: string
  readonly #related: Set<Hubs>

  /** @param shared as in Hubs */
  constructor (bus: InternalBroadcast, link: RedisLink, hubs: Hubs, bootId: string, shared: object) {
    this.#bus = bus
    this.#bootId = bootId
    this.#link = link
    this.#hubs = hubs
    this.#related = related.get(shared) ?? new Set()
    related.set(shared, this.#related.add(hubs))
  }

  /** Answers the others. */
  open (): Promise<Unsubscribe> {
    return this.#bus.subscribe<Ask>(CHANNEL, ({ data, bytes = null }) => this.#isFirst ? this.#answer(data, bytes) : undefined)
  }

  /** Answers no more: the next registration does. */
  close (): void {
    this.#related.delete(this.#hubs)
  }

  /** All namespaces of this registration, and what only other processes have. */
  async stats (): Promise<ClusterStats> {
    const { all } = await this.#stats()
    const others = [...this.#related].filter((hubs) => hubs !== this.#hubs)
    for (const name of Object.keys(all)) if (others.some(({ directory }) => directory.find(name) !== null)) delete all[name]
    return all
  }

  async statsOf (namespace: string): Promise<NamespaceStats> {
    const { all, status } = await this.#stats(namespace)
    return all[namespace] ?? none(status)
  }

  async #stats (namespace?: string): Promise<{ all: ClusterStats, status: NamespaceStats['status'] }> {
    const { values, missing } = await this.#ask<Record<string, LocalStats>>({ op: 'stats', ...(namespace === undefined ? {} : { namespace }) })
    const status = this.#link.state === 'down' || this.#link.state === 'connecting' ? 'red' : missing > 0 ? 'yellow' : 'green'
    const all: ClusterStats = Object.create(null)
    for (const value of values) for (const [name, local] of Object.entries(value)) add((all[name] ??= none(status)), local)
    await Promise.all(Object.entries(all).filter(([, { instances }]) => instances > 1).map(([name, stats]) => this.#distinct(name, stats)))
    return { all, status }
  }

  /** The users that are connected, or in a room, or one of them. */
  async users (namespace: string, which: { room?: string, userId?: string }): Promise<Present[]> {
    const { replies } = await this.#bus.ask(CHANNEL, { op: 'users', namespace, ...which } satisfies Ask, LOOK_UP)
    const present = new Map<string, string[]>()
    for (const reply of replies) {
      for (const userId of 'value' in reply ? reply.value as string[] ?? [] : []) present.set(userId, [...present.get(userId) ?? [], reply.instanceId])
    }
    return [...present].map(([userId, instances]) => ({ userId, instances }))
  }

  /** Resolves with how many connections of a user, or in a room, got it. */
  async send (namespace: string, whom: { userId: string } | { room: string }, { json, bytes }: Envelope): Promise<number> {
    const ask: Ask = 'room' in whom ? { op: 'sendRoom', namespace, room: whom.room, json } : { op: 'send', namespace, userId: whom.userId, json }
    return sum((await this.#ask<number>(ask, bytes)).values)
  }

  async disconnect (namespace: string, userId: string, code: number, reason: string): Promise<number> {
    return sum((await this.#ask<number>({ op: 'disconnect', namespace, userId, code, reason })).values)
  }

  /** A client reconnected here: cuts its old connection to another process, which that has not found dead yet. */
  async replace (namespace: string, userId: string, clientId: string): Promise<void> {
    await this.#ask({ op: 'replace', namespace, userId, clientId, by: this.#bootId })
  }

  /** Has all connections of a user enter or leave a room; resolves with how many did. */
  async move (op: 'join' | 'leave', namespace: string, userId: string, room: string): Promise<number> {
    return sum((await this.#ask<number>({ op, namespace, userId, room })).values)
  }

  async connections (namespace: string, userId: string): Promise<ConnectionInfo[]> {
    const { replies } = await this.#bus.ask(CHANNEL, { op: 'connections', namespace, userId } satisfies Ask, LOOK_UP)
    return replies.flatMap((reply) => 'value' in reply && Array.isArray(reply.value)
      ? (reply.value as Array<Omit<ConnectionInfo, 'instance'>>).map((one) => ({ ...one, instance: reply.instanceId }))
      : [])
  }

  /** Users and rooms with connections to several processes count once. */
  async #distinct (namespace: string, stats: NamespaceStats): Promise<void> {
    const [users, rooms] = await Promise.all([
      stats.users === 0 ? [] : this.users(namespace, {}),
      stats.rooms === 0 ? [] : this.#ask<string[]>({ op: 'rooms', namespace }).then(({ values }) => [...new Set(values.flat())])
    ])
    stats.users = users.length
    stats.rooms = rooms.length
  }

  async #ask<T> (ask: Ask, bytes: Uint8Array | null = null): Promise<{ values: T[], missing: number }> {
    const { replies, missing } = await this.#bus.ask(CHANNEL, ask, LOGGED.has(ask.op) ? { timeoutMs: ASK_MS } : { ...LOOK_UP, bytes: bytes ?? undefined })
    const values = replies.flatMap((reply) => 'value' in reply && reply.value !== undefined && reply.value !== null ? [reply.value as T] : [])
    // An instance that answered with an error is not among them either.
    return { values, missing: missing.length + replies.length - values.length }
  }

  get #isFirst (): boolean {
    const [first] = this.#related
    return first === this.#hubs
  }

  async #answer (ask: Ask, bytes: Uint8Array | null): Promise<unknown> {
    // Of a later release: a number of connections would say that it was done.
    if (!OPS.has(ask.op)) throw new Error(`${String(ask.op)} is not known here`)
    const all = [...this.#related]
    if (ask.op === 'stats') return Object.assign(Object.create(null), ...all.map((hubs) => hubs.local(ask.namespace)))
    const hub = all.map((hubs) => hubs.get(ask.namespace)).find((hub) => hub !== undefined)
    if (hub === undefined) return ask.op === 'users' || ask.op === 'rooms' || ask.op === 'connections' ? [] : 0
    if (ask.op === 'rooms') return hub.roomNames
    if (ask.op === 'users') {
      if (ask.room !== undefined) return [...new Set([...hub.peersOf(`room:${ask.room}`)].flatMap(({ userId }) => userId ?? []))]
      return ask.userId === undefined ? hub.userIds : hub.peersOf(`user:${ask.userId}`).size > 0 ? [ask.userId] : []
    }
    const peers = [...hub.peersOf(ask.op === 'sendRoom' ? `room:${ask.room}` : `user:${ask.userId}` satisfies Topic)].filter(({ isOpen }) => isOpen)
    if (ask.op === 'connections') return peers.map(({ clientId, rooms }) => ({ clientId, rooms: [...rooms] }))
    switch (ask.op) {
      // One that is in as many rooms as it may be hides none of the others.
      case 'join': return (await Promise.allSettled(peers.map((peer) => peer.join(ask.room)))).filter(({ status }) => status === 'fulfilled').length
      case 'leave': for (const peer of peers) peer.leave(ask.room); break
      case 'replace': for (const peer of ask.by === this.#bootId ? [] : peers) if (peer.clientId === ask.clientId) peer.transport.terminate(); break
      case 'disconnect': for (const peer of peers) peer.close(ask.code, ask.reason); break
      case 'send': case 'sendRoom': {
        const frame = new Frame(ask.json, bytes)
        for (const peer of peers) peer.deliver(frame, null, false)
      }
    }
    return peers.length
  }
}

function none (status: NamespaceStats['status']): NamespaceStats {
  return { users: 0, connections: 0, messages: 0, rooms: 0, instances: 0, drops: noDrops(), status, lastActivity: null }
}

function add (stats: NamespaceStats, local: LocalStats): void {
  for (const field of ['users', 'connections', 'messages', 'rooms'] as const) stats[field] += local[field]
  for (const field of ['oversize', 'rateLimit', 'invalid', 'slow'] as const) stats.drops[field] += local.drops[field]
  if (local.connections > 0) stats.instances++
  if (local.lastActivity !== null) stats.lastActivity = Math.max(stats.lastActivity ?? 0, local.lastActivity)
}

function sum (numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0)
}
