import type { FastifyBaseLogger } from 'fastify'
import { Close } from '../codes.ts'
import { formatOffset, type Carrier, type Delivered, type Delivery, type Listening, type Place, type Sink } from '../delivery/carrier.ts'
import { Frame, measure, withOffset, type Envelope } from '../delivery/frame.ts'
import type { Topic } from '../delivery/keys.ts'
import type { History } from '../options.ts'
import type { Presence, PresenceSink } from '../presence/presence.ts'
import type { Records } from '../recovery/records.ts'
import type { UserSlots } from '../cluster/user-slots.ts'
import type { Definition } from './definition.ts'
import type { Found } from './directory.ts'
import type { Drops, PeerHub, Peer } from './peer.ts'

/** What a namespace shows of this process. */
export interface LocalStats {
  path: string
  users: number
  connections: number
  /** Received from clients and sent by this process. */
  messages: number
  rooms: number
  drops: Drops
  /** Milliseconds since 1970; null where nothing happened yet. */
  lastActivity: number | null
}

/** What the plugin gives to a namespace. */
export interface HubParts {
  readonly maxOutgoingBytes: number
  readonly log: FastifyBaseLogger
  carrier (name: string, definition: Definition, sink: Sink): Carrier
  presence (name: string, sink: PresenceSink): Presence
  records (name: string, history: History): Records
  /** Null where no Redis is configured. */
  userSlots (name: string): UserSlots | null
}

/** Hubs of this process are numbered: the number is the channel on sockets of several namespaces. */
let channels = 0

/** The connections of one namespace in this process, and what reaches them. */
export class Hub implements PeerHub, Sink, PresenceSink {
  readonly found: Found
  readonly channel = ++channels
  readonly carrier: Carrier
  readonly presence: Presence | null
  readonly records: Records | null
  /** Null where nothing limits the connections of a user, or no Redis is configured. */
  readonly userSlots: UserSlots | null
  readonly drops: Drops = noDrops()
  readonly connections = new Set<Peer>()
  readonly log: FastifyBaseLogger
  /** Connections that count for the limits, those whose upgrade is in progress included. */
  slots = 0
  readonly slotsOf = new Map<string, number>()
  /** Whether its name belongs to another definition now, or to none. */
  isEvicted = false
  readonly #maxOutgoingBytes: number
  readonly #topics = new Map<Topic, { peers: Set<Peer>, listening: Listening }>()
  /** Users whose last connection ended less than the grace period ago. */
  readonly #lingering = new Map<string, NodeJS.Timeout>()
  #users = 0
  #rooms = 0
  #messages = 0
  #lastActivity: number | null = null

  constructor (found: Found, { maxOutgoingBytes, log, carrier, presence, records, userSlots }: HubParts) {
    const { name, definition } = found
    this.found = found
    this.log = log
    this.#maxOutgoingBytes = maxOutgoingBytes
    this.carrier = carrier(name, definition, this)
    this.records = definition.history === null ? null : records(name, definition.history)
    this.userSlots = definition.limits.maxConnectionsPerUser === Infinity ? null : userSlots(name)
    this.presence = definition.presence === null ? null : presence(name, this)
  }

  get name (): string {
    return this.found.name
  }

  get definition (): Definition {
    return this.found.definition
  }

  /** Whether it can be removed: nothing is connected, in flight or lingering. */
  get isIdle (): boolean {
    return this.connections.size === 0 && this.slots === 0 && this.#lingering.size === 0 && this.carrier.idle && (this.presence?.idle ?? true) && (this.userSlots?.isIdle ?? true)
  }

  /** Local users, each once. */
  get userIds (): string[] {
    return this.#idsOf('user:')
  }

  get roomNames (): string[] {
    return this.#idsOf('room:')
  }

  peersOf (topic: Topic): ReadonlySet<Peer> {
    return this.#topics.get(topic)?.peers ?? new Set()
  }

  publish (message: Delivery): Promise<Delivered> {
    this.measure(message)
    this.count()
    return this.carrier.publish(message)
  }

  measure (envelope: Envelope): void {
    measure(envelope, this.#maxOutgoingBytes)
  }

  count (): void {
    this.#messages++
    this.#lastActivity = Date.now()
  }

  async where (): Promise<Place | null> {
    return (await this.carrier.open(null)).place
  }

  /** A user was put out of a room: records it for connections that are broken just now, so that they do not resume into it. */
  async forget (userId: string, room: string): Promise<void> {
    const place = this.records === null ? null : await this.where()
    if (place !== null) await this.records!.leave(userId, room, place)
  }

  addTopic (peer: Peer, topic: Topic): Promise<void> {
    let entry = this.#topics.get(topic)
    if (entry === undefined) {
      entry = { peers: new Set(), listening: this.carrier.listen(topic) }
      this.#topics.set(topic, entry)
      this.#tally(topic, 1)
    }
    entry.peers.add(peer)
    return entry.listening.ready
  }

  removeTopic (peer: Peer, topic: Topic): void {
    const entry = this.#topics.get(topic)
    if (entry?.peers.delete(peer) !== true || entry.peers.size > 0) return
    this.#topics.delete(topic)
    entry.listening.stop()
    this.#tally(topic, -1)
  }

  /** A user has a connection that is open. */
  arrive (userId: string): void {
    clearTimeout(this.#lingering.get(userId))
    this.#lingering.delete(userId)
    this.presence?.change(userId, true)
  }

  /** A connection ended, or has no part in the namespace any more. Further calls do nothing. */
  leave (peer: Peer): void {
    if (peer.isGone) return
    peer.end()
    const { userId } = peer
    const { presence } = this.definition
    if (presence === null || userId === null || this.#lingering.has(userId) || this.peersOf(`user:${userId}`).size > 0) return
    this.#lingering.set(userId, setTimeout(() => this.#depart(userId), presence.graceMs).unref())
  }

  /** Ends the grace period of all users at once. */
  departLingering (): void {
    for (const userId of [...this.#lingering.keys()]) this.#depart(userId)
  }

  deliver ({ topic, json, bytes, except, volatile }: Delivery, place: Place | null): void {
    const entry = this.#topics.get(topic)
    if (entry === undefined) return
    this.#lastActivity = Date.now()
    const frame = new Frame(place === null ? json : withOffset(json, formatOffset(place)), bytes)
    const without = except === '' ? null : except.split('.')
    for (const peer of entry.peers) if (without === null || !without.includes(peer.clientId)) peer.deliver(frame, place, volatile)
  }

  mark (place: Place): void {
    if (this.connections.size === 0) return
    const frame = new Frame(JSON.stringify({ type: 'offset', offset: formatOffset(place) }))
    for (const peer of this.connections) peer.markOffset(frame, place)
  }

  /** To everybody but the user itself. */
  announce (type: 'presence:join' | 'presence:leave', userIds: readonly string[]): void {
    for (const userId of userIds) {
      const frame = new Frame(JSON.stringify({ type, data: { userId } }))
      for (const peer of this.connections) if (peer.userId !== userId) peer.deliver(frame, null, false)
    }
  }

  stats (path: string): LocalStats {
    return {
      path,
      users: this.#users,
      connections: this.connections.size,
      messages: this.#messages,
      rooms: this.#rooms,
      drops: { ...this.drops },
      lastActivity: this.#lastActivity
    }
  }

  /** Renews what lives by the heartbeat. `dead` is the token of an instance that is known to have ended. */
  beat (dead?: string): void {
    this.presence?.beat(dead).catch(() => {})
    this.userSlots?.renew().catch(() => {})
    if (this.connections.size === 0) return
    this.carrier.keep()
    const { history } = this.definition
    if (history !== null) for (const peer of this.connections) peer.membership.renew(history.stateMs / 3)
  }

  /** Ends all connections with 1001. They get nothing more: the name may belong to another definition from now on. */
  evict (): void {
    for (const peer of [...this.connections]) {
      peer.close(Close.goingAway, 'namespace closed')
      this.leave(peer)
    }
    this.departLingering()
  }

  close (): void {
    this.carrier.close()
    this.presence?.close()
  }

  #depart (userId: string): void {
    clearTimeout(this.#lingering.get(userId))
    this.#lingering.delete(userId)
    if (this.peersOf(`user:${userId}`).size === 0) this.presence?.change(userId, false)
  }

  #idsOf (kind: 'user:' | 'room:'): string[] {
    return [...this.#topics.keys()].filter((topic) => topic.startsWith(kind)).map((topic) => topic.slice(kind.length))
  }

  #tally (topic: Topic, one: 1 | -1): void {
    if (topic.startsWith('user:')) this.#users += one
    else if (topic.startsWith('room:')) this.#rooms += one
  }
}

export function noDrops (): Drops {
  return { oversize: 0, rateLimit: 0, invalid: 0, slow: 0 }
}
