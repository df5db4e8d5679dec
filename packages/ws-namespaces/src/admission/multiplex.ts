import { randomBytes } from 'node:crypto'
import { tellOf } from '@jpulse/plugin-kit'
import type { FastifyRequest } from 'fastify'
import { Close, MESSAGES } from '../codes.ts'
import { Channel, type ChannelOwner } from '../delivery/channel.ts'
import { Frame } from '../delivery/frame.ts'
import { Line, type LineOwner } from '../delivery/line.ts'
import type { Socket } from '../delivery/socket.ts'
import { FST_ERR_WS_NAMESPACES_ALREADY_OPEN, FST_ERR_WS_NAMESPACES_TOO_MANY_NAMESPACES, FST_ERR_WS_NAMESPACES_UNAUTHORIZED } from '../errors.ts'
import type { Hubs } from '../namespace/hubs.ts'
import type { Stalls } from '../namespace/stalls.ts'
import { Attendance, type AttendanceParts } from './attendance.ts'
import { readControl, readNumber, type Open } from './control.ts'
import { Seat, type Admitted, type Gate } from './gate.ts'
import type { WatchedSession } from './watched-session.ts'

/** Bounds of a socket of several namespaces. */
interface MultiplexLimits {
  readonly maxNamespaces: number
  readonly maxBufferedBytes: number
}

export interface MultiplexParts extends AttendanceParts {
  readonly hubs: Hubs
  readonly gate: Gate
  readonly multiplex: MultiplexLimits
  readonly stalls: Stalls
}

interface Opened {
  readonly channel: Channel
  readonly attendance: Attendance
}

/** Frames that are no namespace's, in a window: more than opening and closing takes is abuse. */
const CONTROL_MESSAGES = 200
const WINDOW_MS = 1000
/** What an upgrade would be answered, as a close code: 4401, 4403, 4404, 4429, 4503. */
const REFUSED = 4000
/** A socket that is not older has a session that was just read. */
const FRESH_MS = 1000
/** So long a socket may be there before it has its first namespace. */
const IDLE_MS = 30_000
/** A slow client that goes on not reading is cut after this. */
const CUT_MS = 1000

/**
 * A socket of several namespaces. Each has a channel: a number that begins its frames in both directions. Each is admitted,
 * limited and closed by itself, as on a socket of its own; what no channel's frame says is about the channels.
 */
export class Multiplex implements LineOwner, ChannelOwner {
  readonly isReady = true
  readonly #line: Line
  readonly #openedAt = performance.now()
  readonly #request: FastifyRequest
  readonly #parts: MultiplexParts
  /** Being opened or open, by the client's id; null while it is being opened. */
  readonly #byId = new Map<number, Opened | null>()
  readonly #byNumber = new Map<number, Opened>()
  #session: WatchedSession | null = null
  #ended: { code: number, reason: string } | null = null
  #windowAt = 0
  #windowCount = 0
  #idle: NodeJS.Timeout | undefined
  #wasUsed = false
  #suspected = false

  constructor (socket: Socket, request: FastifyRequest, parts: MultiplexParts, heartbeat: boolean) {
    this.#line = new Line(socket, heartbeat)
    this.#line.owner = this
    this.#request = request
    this.#parts = parts
  }

  /** Takes the socket from its upgrade to its end. */
  start (): void {
    const { lines, log, told: { heartbeat, reconnectWindowMs }, multiplex: { maxNamespaces } } = this.#parts
    const { socket } = this.#line
    socket.on('message', (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary))
    socket.on('pong', () => { this.#line.heardAt = performance.now() })
    socket.on('error', (err: Error) => log.debug({ err }, 'the connection of a client failed'))
    socket.on('close', (code: number, reason: Buffer) => this.#over(code, String(reason)))
    lines.add(this.#line)
    this.#tell({ type: 'connected', data: { clientId: randomBytes(16).toString('base64url'), maxNamespaces, heartbeat, reconnectWindowMs } })
    this.#watchIdle()
  }

  get session (): WatchedSession | null {
    return this.#session
  }

  get maxBufferedBytes (): number {
    return this.#parts.multiplex.maxBufferedBytes
  }

  expire (): void {
    for (const { attendance } of [...this.#byNumber.values()]) attendance.peer.expire()
  }

  shutdown (code: number, reason: string): void {
    if (this.#ended !== null) return
    this.#ended = { code, reason }
    for (const { attendance } of this.#byNumber.values()) attendance.peer.ended ??= this.#ended
    this.#line.close(code, reason)
  }

  /** Two turns of the event loop decide whether the client is slow or had no chance yet. */
  overflow (): void {
    if (this.#suspected || this.#ended !== null) return
    this.#suspected = true
    setImmediate(() => setImmediate(() => {
      this.#suspected = false
      if (this.#ended !== null || this.#line.backlog <= this.maxBufferedBytes) return
      for (const { attendance } of this.#byNumber.values()) attendance.peer.home.drops.slow++
      this.shutdown(Close.slow, 'too slow')
      setTimeout(() => this.#line.socket.terminate(), CUT_MS).unref()
    }))
  }

  closed (channel: Channel, code: number, reason: string): void {
    this.#tell({ type: 'closed', id: channel.id, code, reason })
    this.#line.flush()
    this.#release(channel, code, reason)
  }

  #receive (data: Buffer, isBinary: boolean): void {
    this.#line.heardAt = performance.now()
    if (this.#ended !== null) return
    const at = readNumber(data)
    if (at === null) return isBinary ? this.shutdown(Close.unsupported, 'a binary message begins with its channel') : this.#control(data)
    const opened = this.#byNumber.get(at.number)
    if (opened !== undefined) opened.attendance.receive(data.subarray(at.length), isBinary)
    // It was closed here while this was on its way.
    else this.#rate()
  }

  /** Whether the client talks about channels no more than it may. */
  #rate (): boolean {
    const now = this.#line.heardAt
    if (now - this.#windowAt >= WINDOW_MS) [this.#windowAt, this.#windowCount] = [now, 0]
    if (++this.#windowCount <= CONTROL_MESSAGES * this.#parts.stalls.windows(now, WINDOW_MS)) return true
    this.shutdown(Close.abuse, 'too many messages')
    return false
  }

  #control (data: Buffer): void {
    if (!this.#rate()) return
    const message = readControl(data)
    if (message === 'garbage') return this.shutdown(Close.badFrame, 'a frame begins with the number of a channel, or is JSON')
    if (message === 'invalid' || message === 'unknown') {
      const code = message === 'invalid' ? 'INVALID_MESSAGE' : 'UNKNOWN_TYPE'
      return this.#tell({ type: 'error', error: { code, message: MESSAGES[code] } })
    }
    if (message.type === 'open') this.#open(message)
    else if (message.type === 'close') this.#close(message.id)
    else this.#line.beat()
  }

  async #open (wanted: Open): Promise<void> {
    const { id } = wanted
    if (this.#byId.has(id)) return this.#tell({ type: 'error', error: { code: 'INVALID_MESSAGE', message: 'The id is in use' } })
    this.#byId.set(id, null)
    clearTimeout(this.#idle)
    try {
      const admitted = await this.#admit(wanted)
      if (this.#isWanted(id)) this.#begin(admitted, wanted)
    } catch (err) {
      if (!this.#isWanted(id)) return
      this.#byId.delete(id)
      this.#refuse(id, err)
      this.#watchIdle()
    }
  }

  #refuse (id: number, err: unknown): void {
    const { statusCode, code, error } = tellOf(err, 'FST_ERR_WS_NAMESPACES')
    if (statusCode >= 500 && statusCode !== 503) this.#request.log.error({ err }, `a namespace was not opened: ${code}`)
    this.#tell({ type: 'closed', id, code: REFUSED + statusCode, reason: error, error: { statusCode, code, message: error } })
  }

  /** Whether the client still waits for the namespace. */
  #isWanted (id: number): boolean {
    return this.#ended === null && this.#line.isOpen && this.#byId.get(id) === null
  }

  /** @throws what the client is told */
  async #admit ({ path, protocols }: Open): Promise<Admitted> {
    const { gate, multiplex: { maxNamespaces } } = this.#parts
    if (this.#byId.size > maxNamespaces) throw new FST_ERR_WS_NAMESPACES_TOO_MANY_NAMESPACES(maxNamespaces)
    const admitted = await gate.admit(withProtocols(this.#request, protocols), path.split('?', 1)[0]!)
    const session = this.#session ?? admitted.session
    // The request knows the session as it was when the socket was opened.
    if (session !== null && performance.now() - this.#openedAt > FRESH_MS && !await session.isAlive()) throw new FST_ERR_WS_NAMESPACES_UNAUTHORIZED()
    return { ...admitted, session: admitted.session === null ? null : session }
  }

  /** @throws what the client is told */
  #begin (admitted: Admitted, { id, path }: Open): void {
    const query = new URLSearchParams(path.split('?', 2)[1])
    const [clientId, offset] = ['clientId', 'offset'].map((name) => query.get(name) || null) as [string | null, string | null]
    const { name } = admitted.found
    if ([...this.#byNumber.values()].some(({ attendance: { peer } }) => peer.namespace === name)) throw new FST_ERR_WS_NAMESPACES_ALREADY_OPEN(name)
    const seat = new Seat(this.#parts.hubs, admitted, clientId)
    this.#session ??= admitted.session
    const { hub } = seat
    const channel = new Channel(this.#line, hub.definition.limits.maxBufferedBytes, this, id, hub.channel)
    const wishes = { offset, clientId }
    const attendance = new Attendance(this.#parts, channel, seat, wishes)
    const opened = { channel, attendance }
    this.#byId.set(id, opened)
    this.#byNumber.set(channel.number, opened)
    this.#wasUsed = true
    this.#tell({ type: 'opened', id, channel: channel.number })
    attendance.start(wishes)
  }

  /** The client wants a namespace no more. It hears nothing of it from now on. */
  #close (id: number): void {
    const opened = this.#byId.get(id)
    if (opened === undefined) return
    if (opened === null) this.#byId.delete(id)
    else {
      opened.channel.end()
      this.#release(opened.channel, 1000, '')
    }
    this.#tell({ type: 'closed', id, code: 1000, reason: '' })
    this.#watchIdle()
  }

  /** Not within the call that ends it, as with a socket. */
  #release ({ id, number }: Channel, code: number, reason: string): void {
    const opened = this.#byId.get(id)
    this.#byId.delete(id)
    this.#byNumber.delete(number)
    this.#watchIdle()
    if (opened != null) setImmediate(() => opened.attendance.end(code, reason))
  }

  #watchIdle (): void {
    clearTimeout(this.#idle)
    if (this.#byId.size > 0 || this.#wasUsed || this.#ended !== null) return
    this.#idle = setTimeout(() => this.shutdown(Close.idle, 'no namespace is open'), IDLE_MS).unref()
  }

  #over (code: number, reason: string): void {
    this.#ended ??= { code, reason }
    clearTimeout(this.#idle)
    this.#parts.lines.delete(this.#line)
    const all = [...this.#byNumber.values()]
    this.#byId.clear()
    this.#byNumber.clear()
    for (const { channel, attendance } of all) {
      channel.end()
      attendance.end(code, reason)
    }
  }

  #tell (message: object): void {
    if (this.#line.backlog > this.maxBufferedBytes) this.overflow()
    this.#line.push(new Frame(JSON.stringify(message)).alone)
  }
}

/** The request of the upgrade as `authorize` sees it: with the subprotocols that the client offers now, where a bearer token may be. */
function withProtocols (request: FastifyRequest, protocols: readonly string[] = []): FastifyRequest {
  if (protocols.length === 0) return request
  return Object.create(request, { headers: { value: { ...request.headers, 'sec-websocket-protocol': protocols.join(', ') } } }) as FastifyRequest
}
