import { randomBytes } from 'node:crypto'
import { MESSAGES, type ErrorCode } from '../codes.ts'
import { formatOffset, type Logged, type Place } from '../delivery/carrier.ts'
import type { Identity } from './definition.ts'
import { FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT } from '../errors.ts'
import { envelope, textFrame, toJson, withOffset } from '../delivery/frame.ts'
import type { Hub } from './hub.ts'
import type { Topic } from '../delivery/keys.ts'
import { isName } from './names.ts'
import { Outlet } from '../delivery/outlet.ts'
import type { WatchedSession } from '../admission/sessions.ts'
import { OPEN, type Socket } from '../admission/socket.ts'

const CLIENT_ID = /^[A-Za-z0-9_-]{16,64}$/
const MOST_HELD = 20_000
const NO_ROOMS: ReadonlySet<string> = new Set()

export interface SendOptions {
  /** Dropped, rather than the client, where the client is slow. @default false */
  volatile?: boolean
}

/** What the parts of the plugin share of a connection, out of the application's sight. */
export interface Internals {
  readonly hub: Hub
  readonly socket: Socket
  readonly outlet: Outlet
  readonly session: WatchedSession | null
  /** Messages in the window that began at `windowAt`. */
  windowAt: number
  windowCount: number
  /** When it was last heard, and last pinged, on the monotonic clock. */
  heardAt: number
  pingedAt: number
  /** Whether `onConnect` was called. */
  announced: boolean
  /** Code and reason that the server gave. */
  ended: { code: number, reason: string } | null
  /** Whether somebody looks already whether the client is too slow. */
  suspected: boolean
}

/** One client's connection to a namespace. */
export class Connection<Ctx extends Identity = Identity> {
  /** Names the client; it keeps it when it comes back within the history. */
  readonly clientId: string
  /** What `authorize` returned. */
  readonly ctx: Ctx
  /** @internal */
  readonly internals: Internals
  #rooms: Set<string> | null = null
  /** What waits for the client's first frame; null when it was sent. */
  #held: Array<[frame: Buffer, place: Place | null]> | null = []
  /** Up to where the client was served when it came. */
  #floor: Place | null = null
  /** The last message of the log that it got, or was told of. */
  #last: Place | null = null
  #gone = false

  /** @internal */
  constructor (hub: Hub, socket: Socket, ctx: Ctx, session: WatchedSession | null, clientId: string | null) {
    this.clientId = clientId !== null && CLIENT_ID.test(clientId) ? clientId : randomBytes(16).toString('base64url')
    this.ctx = ctx
    const now = performance.now()
    this.internals = {
      hub,
      socket,
      outlet: new Outlet(socket, hub.definition.limits.maxBufferedBytes),
      session,
      windowAt: 0,
      windowCount: 0,
      heardAt: now,
      pingedAt: now,
      announced: false,
      ended: null,
      suspected: false
    }
  }

  /** Null for a guest. */
  get userId (): string | null {
    return this.ctx.userId
  }

  /** Name of the namespace, decoded. */
  get namespace (): string {
    return this.internals.hub.name
  }

  /** The rooms that it is in. */
  get rooms (): ReadonlySet<string> {
    return this.#rooms ?? NO_ROOMS
  }

  /** Whether it is still there. */
  get isOpen (): boolean {
    return !this.#gone && this.internals.socket.readyState === OPEN
  }

  /**
   * Sends to this client. It is not part of the history.
   *
   * @throws FST_ERR_WS_NAMESPACES_INVALID_DATA, _MESSAGE_TOO_LARGE
   */
  send (type: string, data?: unknown, { volatile = false }: SendOptions = {}): void {
    const json = envelope(type, data)
    this.internals.hub.measure(json)
    this.deliver(textFrame(json), null, volatile)
  }

  /** Resolves when what is sent to the room is heard. @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT */
  async join (room: string): Promise<void> {
    if (!isName(room)) throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT('room', 'a text of 1 to 512 well-formed characters')
    if (this.#gone) return
    this.#rooms ??= new Set()
    this.#rooms.add(room)
    await this.internals.hub.addTopic(this, `room:${room}`)
  }

  /** From now on it gets nothing that is sent to the room. */
  leave (room: string): void {
    if (this.#rooms?.delete(room) === true) this.internals.hub.removeTopic(this, `room:${room}`)
  }

  /** Ends the connection. @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT */
  close (code = 1000, reason = ''): void {
    checkClose(code, reason)
    this.internals.ended ??= { code, reason }
    this.internals.outlet.flush()
    this.internals.socket.close(code, reason)
  }

  /** @internal Sends bytes, unless the client has them. */
  deliver (frame: Buffer, place: Place | null, volatile: boolean): void {
    if (this.#gone) return
    if (this.#held !== null) {
      if (this.#held.length < MOST_HELD) this.#held.push([frame, place])
      else this.internals.hub.tooSlow(this)
      return
    }
    if (place !== null) {
      const floor = this.#floor
      if (floor !== null && place.epoch === floor.epoch && place.seq <= floor.seq) return
      this.#last = place
    }
    const pushed = this.internals.outlet.push(frame, volatile)
    if (pushed === 'dropped') this.internals.hub.drops.slow++
    else if (pushed === 'overflow') this.internals.hub.suspect(this)
    else if (pushed === 'refused') this.internals.hub.tooSlow(this)
  }

  /** @internal Tells a client that got nothing lately how far the log is. */
  tell (frame: Buffer, place: Place): void {
    const last = this.#last
    if (this.#held !== null || this.#gone || (last?.epoch === place.epoch && last.seq >= place.seq)) return
    this.#last = place
    this.internals.outlet.push(frame, true)
  }

  /** @internal Answers, or sends without a request. */
  answer (message: object): void {
    this.deliver(textFrame(toJson(message)), null, false)
  }

  /** @internal */
  fail (code: ErrorCode, replyTo?: string | number): void {
    this.answer({ type: 'error', error: { code, message: MESSAGES[code] }, ...(replyTo === undefined ? {} : { replyTo }) })
  }

  /**
   * @internal Begins to send: the first frame, what was missed, then what waited.
   *
   * @param from offset where a client that resumes was; null for others
   */
  start (connected: object, place: Place | null, missed: readonly Logged[], from: string | null): void {
    const held = this.#held!
    this.#held = null
    this.#floor = place
    this.#last = place
    const { outlet } = this.internals
    outlet.push(textFrame(toJson(connected)))
    const send = (json: string, offset: string): void => {
      const frame = textFrame(withOffset(json, offset))
      outlet.allow(frame.length)
      outlet.push(frame)
    }
    let at = from
    for (const { json, seq } of missed) {
      at = formatOffset({ epoch: place!.epoch, seq })
      send(json, at)
    }
    // The client may take the place of the first frame only now: a connection that broke before would lose what it missed.
    const end = place === null ? null : formatOffset(place)
    if (at !== null && end !== null && at !== end) send('{"type":"offset"}', end)
    for (const [frame, at] of held) this.deliver(frame, at, false)
  }

  /** @internal Whether a message is for this client. */
  hears (topic: Topic): boolean {
    if (topic === 'broadcast') return true
    return topic.startsWith('user:') ? topic.slice(5) === this.userId : this.rooms.has(topic.slice(5))
  }

  /** @internal Called once, when the socket is closed. Returns the topics to leave. */
  end (): Topic[] {
    this.#gone = true
    this.#held = null
    const topics: Topic[] = ['broadcast', ...[...this.rooms].map((room): Topic => `room:${room}`)]
    if (this.userId !== null) topics.push(`user:${this.userId}`)
    this.#rooms = null
    return topics
  }

  /** @internal Whether `end` was called. */
  get isGone (): boolean {
    return this.#gone
  }
}

/** What a close frame may hold. @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT */
export function checkClose (code: unknown, reason: unknown): void {
  const isCode = Number.isInteger(code) && ([1000, 1001, 1003].includes(code as number) || (Number(code) >= 1007 && Number(code) <= 1014) || (Number(code) >= 3000 && Number(code) <= 4999))
  if (!isCode) throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT('code', '1000, 1001, 1003, 1007 to 1014 or 3000 to 4999')
  if (typeof reason !== 'string' || Buffer.byteLength(reason) > 123) throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT('reason', 'a text of at most 123 bytes')
}
