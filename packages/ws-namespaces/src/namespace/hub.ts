import type { FastifyBaseLogger } from 'fastify'
import { formatOffset, type Carrier, type Delivered, type Delivery, type Listening, type Place, type Sink } from '../delivery/carrier.ts'
import { Close } from '../codes.ts'
import type { Connection } from './connection.ts'
import type { Definition } from './definition.ts'
import { FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE } from '../errors.ts'
import { textFrame, toJson, withOffset } from '../delivery/frame.ts'
import type { Topic } from '../delivery/keys.ts'
import type { Presence } from '../presence/presence.ts'

/** Messages that were not handled, and clients that were too slow, since the start of the process. */
export interface Drops {
  oversize: number
  rateLimit: number
  invalid: number
  slow: number
}

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

/** What a hub takes from the plugin. */
export interface HubParts {
  readonly path: string
  readonly maxOutgoingBytes: number
  readonly log: FastifyBaseLogger
  carrier (sink: Sink): Carrier
  presence (sink: { announce (type: 'presence:join' | 'presence:leave', userIds: readonly string[]): void }): Presence | null
}

/** A slow client that goes on not reading is cut after this. */
const CUT_MS = 1000

/** The connections of one namespace in this process, and what reaches them. */
export class Hub implements Sink {
  readonly name: string
  readonly definition: Definition
  readonly carrier: Carrier
  readonly presence: Presence | null
  readonly drops: Drops = { oversize: 0, rateLimit: 0, invalid: 0, slow: 0 }
  readonly connections = new Set<Connection>()
  readonly log: FastifyBaseLogger
  /** Connections that are let in, also those whose upgrade is under way. */
  seats = 0
  readonly seatsOf = new Map<string, number>()
  readonly #parts: HubParts
  readonly #topics = new Map<Topic, { conns: Set<Connection>, listening: Listening }>()
  #users = 0
  #rooms = 0
  #messages = 0
  #lastActivity: number | null = null

  constructor (name: string, definition: Definition, parts: HubParts) {
    this.name = name
    this.definition = definition
    this.log = parts.log
    this.#parts = parts
    this.carrier = parts.carrier(this)
    this.presence = parts.presence({ announce: (type, userIds) => this.#announce(type, userIds) })
  }

  /** Whether nobody would miss it. */
  get isIdle (): boolean {
    return this.connections.size === 0 && this.seats === 0 && this.carrier.idle && (this.presence?.idle ?? true)
  }

  /** Local users, each once. */
  get userIds (): string[] {
    return [...this.#topics.keys()].filter((topic) => topic.startsWith('user:')).map((topic) => topic.slice(5))
  }

  get roomNames (): string[] {
    return [...this.#topics.keys()].filter((topic) => topic.startsWith('room:')).map((topic) => topic.slice(5))
  }

  connectionsOf (topic: Topic): ReadonlySet<Connection> {
    return this.#topics.get(topic)?.conns ?? new Set()
  }

  publish (message: Delivery): Promise<Delivered> {
    this.measure(message.json)
    this.count()
    return this.carrier.publish(message)
  }

  /** @throws FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE */
  measure (json: string): void {
    const most = this.#parts.maxOutgoingBytes
    // One character of UTF-16 makes 3 bytes of UTF-8 at most.
    if (json.length * 3 <= most) return
    const bytes = Buffer.byteLength(json)
    if (bytes > most) throw new FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE(bytes, most)
  }

  /** A message came from a client, or is sent by this process. */
  count (): void {
    this.#messages++
    this.#lastActivity = Date.now()
  }

  /** Resolves when the topic is heard. */
  addTopic (conn: Connection, topic: Topic): Promise<void> {
    let entry = this.#topics.get(topic)
    if (entry === undefined) {
      entry = { conns: new Set(), listening: this.carrier.listen(topic) }
      this.#topics.set(topic, entry)
      if (topic.startsWith('user:')) this.#users++
      else if (topic.startsWith('room:')) this.#rooms++
    }
    entry.conns.add(conn)
    return entry.listening.ready
  }

  removeTopic (conn: Connection, topic: Topic): void {
    const entry = this.#topics.get(topic)
    if (entry?.conns.delete(conn) !== true || entry.conns.size > 0) return
    this.#topics.delete(topic)
    entry.listening.stop()
    if (topic.startsWith('user:')) this.#users--
    else if (topic.startsWith('room:')) this.#rooms--
  }

  deliver ({ topic, json, except, volatile }: Delivery, place: Place | null): void {
    const entry = this.#topics.get(topic)
    if (entry === undefined) return
    this.#lastActivity = Date.now()
    const frame = textFrame(place === null ? json : withOffset(json, formatOffset(place)))
    const without = except === '' ? null : except.split('.')
    for (const conn of entry.conns) if (without === null || !without.includes(conn.clientId)) conn.deliver(frame, place, volatile)
  }

  mark (place: Place): void {
    if (this.connections.size === 0) return
    const frame = textFrame(toJson({ type: 'offset', offset: formatOffset(place) }))
    for (const conn of this.connections) conn.tell(frame, place)
  }

  /** A client owes more than it may. Two turns of the event loop decide whether it is slow or had no chance yet. */
  suspect (conn: Connection): void {
    const { internals } = conn
    if (internals.suspected || internals.ended !== null) return
    internals.suspected = true
    setImmediate(() => setImmediate(() => {
      internals.suspected = false
      if (internals.outlet.isOver) this.tooSlow(conn)
    }))
  }

  tooSlow (conn: Connection): void {
    if (conn.internals.ended !== null) return
    this.drops.slow++
    conn.close(Close.slow, 'too slow')
    setTimeout(() => conn.internals.socket.terminate(), CUT_MS).unref()
  }

  stats (): LocalStats {
    return {
      path: this.#parts.path,
      users: this.#users,
      connections: this.connections.size,
      messages: this.#messages,
      rooms: this.#rooms,
      drops: { ...this.drops },
      lastActivity: this.#lastActivity
    }
  }

  close (): void {
    this.carrier.close()
    this.presence?.close()
  }

  /** To everybody but the user itself. */
  #announce (type: 'presence:join' | 'presence:leave', userIds: readonly string[]): void {
    for (const userId of userIds) {
      const frame = textFrame(toJson({ type, data: { userId } }))
      for (const conn of this.connections) if (conn.userId !== userId) conn.deliver(frame, null, false)
    }
  }
}
