import { checkCall } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import { Close, MESSAGES, type ErrorCode } from '../codes.ts'
import { formatOffset, type Delivered, type Delivery, type Logged, type Place } from '../delivery/carrier.ts'
import { envelope, Frame, withOffset, type Envelope } from '../delivery/frame.ts'
import type { Topic } from '../delivery/keys.ts'
import type { SocketOwner } from '../delivery/queued-socket.ts'
import type { Transport } from '../delivery/transport.ts'
import type { WatchedSession } from '../admission/watched-session.ts'
import { FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT } from '../errors.ts'
import { invalidOption } from '../options.ts'
import type { Records } from '../recovery/records.ts'
import type { Connection, Identity, SendOptions } from './connection.ts'
import type { Definition } from './definition.ts'
import { NO_ROOMS, Rooms, type Owner } from './rooms.ts'

const MOST_HELD = 20_000
/** Times `maxBufferedBytes` that may be held before `connected`: such a client has no chance to read yet. */
const HELD_LIMITS = 4
/** A slow client has so long to take the close frame before its socket is cut. */
const CUT_MS = 1000

/** Messages that were not handled, and clients that were too slow, since the start of the process. */
export interface Drops {
  oversize: number
  rateLimit: number
  invalid: number
  slow: number
}

/** The namespace as its connections see it. */
export interface PeerHub {
  readonly name: string
  readonly definition: Definition
  readonly drops: Drops
  readonly log: FastifyBaseLogger
  /** Null where the namespace has no history. */
  readonly records: Records | null
  /** Where the log is; null where nobody can tell. */
  where (): Promise<Place | null>
  /** Resolves when the topic is heard. */
  addTopic (peer: Peer, topic: Topic): Promise<void>
  removeTopic (peer: Peer, topic: Topic): void
  publish (message: Delivery): Promise<Delivered>
  /** @throws FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE */
  measure (envelope: Envelope): void
  /** A message came from a client, or is sent by this process. */
  count (): void
}

/** The query with which a client connects: who it was, and where it stood. */
export interface ResumeRequest {
  readonly clientId: string | null
  readonly offset: string | null
}

/** A connection, with the internals that the application does not see. */
export class Peer implements Connection, Owner, SocketOwner {
  readonly clientId: string
  ctx: Identity
  readonly hub: PeerHub
  readonly transport: Transport
  readonly session: WatchedSession | null
  /** Made when it is needed: most connections without history are in no room. */
  #membership: Rooms | null = null
  /** Messages in the window that began at `windowAt`. */
  windowAt = 0
  windowCount = 0
  /** Whether `onConnect` was called. */
  announced = false
  /** Code and reason that the server gave. */
  ended: { code: number, reason: string } | null = null
  /** Frames that wait for `connected`; null when it was sent. */
  #held: Array<[frame: Frame, place: Place | null]> | null = []
  #heldBytes = 0
  /** The log up to here was replayed, or is the past of a client that is new. */
  #floor: Place | null = null
  /** The last message of the log that it got, or was told of. */
  #last: Place | null = null
  #isCheckingSlow = false
  #gone = false

  constructor (hub: PeerHub, transport: Transport, ctx: Identity, session: WatchedSession | null, clientId: string) {
    this.clientId = clientId
    this.ctx = ctx
    this.hub = hub
    this.transport = transport
    this.session = session
  }

  get userId (): string | null {
    return this.ctx.userId
  }

  get namespace (): string {
    return this.hub.name
  }

  get rooms (): ReadonlySet<string> {
    return this.#membership?.names ?? NO_ROOMS
  }

  get membership (): Rooms {
    this.#membership ??= new Rooms(this)
    return this.#membership
  }

  get isOpen (): boolean {
    return !this.#gone && this.transport.isOpen
  }

  /** Whether `connected` was sent: before, nothing of the client is read. */
  get isStarted (): boolean {
    return this.#held === null
  }

  /** Whether `end` was called. */
  get isGone (): boolean {
    return this.#gone
  }

  send (type: string, data?: unknown, options: SendOptions = {}): void {
    checkCall(options, ['volatile'], invalidOption)
    const { volatile = false } = options
    const message = envelope(type, data)
    this.hub.measure(message)
    this.deliver(new Frame(message.json, message.bytes), null, volatile)
  }

  join (room: string): Promise<void> {
    return this.membership.enter(room, false)
  }

  leave (room: string): void {
    this.membership.leave(room)
  }

  hear (room: string): Promise<void> {
    return this.hub.addTopic(this, `room:${room}`)
  }

  unhear (room: string): void {
    this.hub.removeTopic(this, `room:${room}`)
  }

  /** Whether the namespace lets this client choose a room. */
  async mayEnter (room: string): Promise<boolean> {
    const { clientRooms } = this.hub.definition
    return clientRooms === true || (typeof clientRooms === 'function' && await clientRooms(this, room) === true)
  }

  close (code = 1000, reason = ''): void {
    checkClose(code, reason)
    this.ended ??= { code, reason }
    this.transport.close(code, reason)
  }

  /** Sends a frame, unless the replay had it. */
  deliver (frame: Frame, place: Place | null, volatile: boolean): void {
    if (this.#gone) return
    if (this.#held !== null) {
      this.#heldBytes += frame.size
      if (this.#held.length < MOST_HELD && this.#heldBytes <= HELD_LIMITS * this.hub.definition.limits.maxBufferedBytes) this.#held.push([frame, place])
      else this.#tooSlow()
      return
    }
    if (place !== null) {
      const floor = this.#floor
      if (floor !== null && place.epoch === floor.epoch && place.seq <= floor.seq) return
      this.#last = place
    }
    const pushed = this.transport.push(frame, volatile)
    if (pushed === 'dropped') this.hub.drops.slow++
    else if (pushed === 'overflow') this.#checkSlow()
    else if (pushed === 'refused') this.#tooSlow()
  }

  /** Moves the offset of a client for which nothing was logged lately, so that it does not fall out of the history. */
  markOffset (frame: Frame, place: Place): void {
    const last = this.#last
    if (this.#held !== null || this.#gone || (last?.epoch === place.epoch && last.seq >= place.seq)) return
    this.#last = place
    this.transport.push(frame, true)
  }

  /** Read by the socket: whether the client was told that it is connected. */
  get isReady (): boolean {
    return this.isStarted
  }

  shutdown (code: number, reason: string): void {
    this.close(code, reason)
  }

  expire (): void {
    if (this.session === null || !this.isOpen || this.ended !== null) return
    this.fail('SESSION_EXPIRED')
    this.close(Close.unauthenticated, 'session ended')
  }

  fail (code: ErrorCode, replyTo?: string | number): void {
    const message = { type: 'error', error: { code, message: MESSAGES[code] }, ...(replyTo === undefined ? {} : { replyTo }) }
    this.deliver(new Frame(JSON.stringify(message)), null, false)
  }

  /**
   * Begins to send: the first frame, what was missed, then what waited.
   *
   * @param from offset where a client that resumes was; null for others
   */
  start (connected: object, place: Place | null, missed: readonly Logged[], from: string | null): void {
    const held = this.#held!
    this.#held = null
    this.#floor = place
    this.#last = place
    this.transport.push(new Frame(JSON.stringify(connected)))
    const send = (json: string, offset: string, bytes: Uint8Array | null = null): void => this.transport.replay(new Frame(withOffset(json, offset), bytes))
    let at = from
    for (const { json, bytes, seq } of missed) {
      at = formatOffset({ epoch: place!.epoch, seq })
      send(json, at, bytes)
    }
    // The client may move to the offset of `connected` only now: a connection that breaks during the replay resumes from its last message.
    const end = place === null ? null : formatOffset(place)
    if (at !== null && end !== null && at !== end) send('{"type":"offset"}', end)
    for (const [frame, at] of held) this.deliver(frame, at, false)
  }

  /** Unsubscribes from everything. */
  end (): void {
    this.#gone = true
    this.#held = null
    this.hub.removeTopic(this, 'broadcast')
    if (this.userId !== null) this.hub.removeTopic(this, `user:${this.userId}`)
    this.#membership?.end()
  }

  /** A burst of one turn is not written yet: only who is over the limit two turns later is slow. */
  #checkSlow (): void {
    if (this.#isCheckingSlow || this.ended !== null) return
    this.#isCheckingSlow = true
    setImmediate(() => setImmediate(() => {
      this.#isCheckingSlow = false
      if (this.transport.isOverLimit) this.#tooSlow()
    }))
  }

  #tooSlow (): void {
    if (this.ended !== null) return
    this.hub.drops.slow++
    this.close(Close.slow, 'too slow')
    setTimeout(() => this.transport.cut(), CUT_MS).unref()
  }
}

/** What a close frame may hold. @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT */
export function checkClose (code: unknown, reason: unknown): void {
  const isCode = Number.isInteger(code) && ([1000, 1001, 1003].includes(code as number) || (Number(code) >= 1007 && Number(code) <= 1014) || (Number(code) >= 3000 && Number(code) <= 4999))
  if (!isCode) throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT('code', '1000, 1001, 1003, 1007 to 1014 or 3000 to 4999')
  if (typeof reason !== 'string' || Buffer.byteLength(reason) > 123) throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT('reason', 'a text of at most 123 bytes')
}

/** What others may know of who sends. */
export function publicCtx ({ userId, ctx, hub }: Peer): Record<string, unknown> {
  const shown: Record<string, unknown> = { userId }
  for (const field of hub.definition.publicFields) if (Object.hasOwn(ctx, field)) shown[field] = (ctx as unknown as Record<string, unknown>)[field]
  return shown
}
