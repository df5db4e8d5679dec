import { randomBytes } from 'node:crypto'
import { tellOf, within } from '@jpulse/plugin-kit'
import type { FastifyRequest } from 'fastify'
import { Close, MESSAGES } from '../codes.ts'
import { Channel, type ChannelOwner } from '../delivery/channel.ts'
import { Frame } from '../delivery/frame.ts'
import { QueuedSocket, type SocketOwner } from '../delivery/queued-socket.ts'
import type { Socket } from '../delivery/socket.ts'
import { FST_ERR_WS_NAMESPACES_ADMISSION_TIMEOUT, FST_ERR_WS_NAMESPACES_ALREADY_OPEN, FST_ERR_WS_NAMESPACES_TOO_MANY_NAMESPACES, FST_ERR_WS_NAMESPACES_UNAUTHORIZED } from '../errors.ts'
import type { ResumeRequest } from '../namespace/peer.ts'
import type { Stalls } from '../namespace/stalls.ts'
import { Lifecycle, type LifecycleParts } from './lifecycle.ts'
import { readControl, readNumber, type Open } from './control.ts'
import type { Gate } from './gate.ts'
import type { Admitted, Slot } from './slot.ts'
import type { WatchedSession } from './watched-session.ts'

/** Bounds of a socket of several namespaces. */
interface MultiplexLimits {
  readonly maxNamespaces: number
  readonly maxBufferedBytes: number
}

export interface MultiplexParts extends LifecycleParts {
  readonly gate: Gate
  readonly multiplex: MultiplexLimits
  readonly stalls: Stalls
}

/** What a client asked for, and is not admitted to yet. */
interface Opening {
  readonly channel: null
}

interface Opened {
  readonly channel: Channel
  readonly lifecycle: Lifecycle
}

/** Control frames in a window; more is abuse. */
const CONTROL_MESSAGES = 200
const WINDOW_MS = 1000
/** Added to the HTTP status that an upgrade would have: 4401, 4403, 4404, 4429, 4503. */
const REFUSED = 4000
/** So soon after the upgrade the session that was read for it needs no second look. */
const FRESH_MS = 1000
/** Longest that `authorize` and the look at the session may take: the client has no deadline of its own for a namespace, as it has for an upgrade. */
const ADMIT_MS = 10_000
/** Longest that a socket may stand without its first namespace. */
const IDLE_MS = 30_000
/** A slow client has so long to take the close frame before its socket is cut. */
const CUT_MS = 1000

/**
 * A socket of several namespaces. Each has a channel: a number that begins its frames in both directions. Each is admitted,
 * limited and closed by itself, as on a socket of its own; frames without a number are control frames.
 */
export class Multiplex implements SocketOwner, ChannelOwner {
  readonly isReady = true
  readonly #socket: QueuedSocket
  readonly #openedAt = performance.now()
  readonly #request: FastifyRequest
  readonly #parts: MultiplexParts
  /** By the client's id, which it may use again at once when it has closed a namespace. */
  readonly #byId = new Map<number, Opened | Opening>()
  readonly #byNumber = new Map<number, Opened>()
  #session: WatchedSession | null = null
  #ended: { code: number, reason: string } | null = null
  #windowAt = 0
  #windowCount = 0
  #idle: NodeJS.Timeout | undefined
  #wasUsed = false
  #isCheckingSlow = false

  constructor (ws: Socket, request: FastifyRequest, parts: MultiplexParts, heartbeat: boolean) {
    this.#socket = new QueuedSocket(ws, heartbeat)
    this.#socket.owner = this
    this.#request = request
    this.#parts = parts
  }

  /** Takes the socket from its upgrade to its end. */
  start (): void {
    const { sockets, log, welcome: { heartbeat, reconnectWindowMs }, multiplex: { maxNamespaces } } = this.#parts
    const { ws } = this.#socket
    ws.on('message', (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary))
    ws.on('pong', () => { this.#socket.heardAt = performance.now() })
    ws.on('error', (err: Error) => log.debug({ err }, 'the connection of a client failed'))
    ws.on('close', (code: number, reason: Buffer) => this.#over(code, String(reason)))
    sockets.add(this.#socket)
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
    for (const { lifecycle } of [...this.#byNumber.values()]) lifecycle.peer.expire()
  }

  shutdown (code: number, reason: string): void {
    if (this.#ended !== null) return
    this.#ended = { code, reason }
    for (const { lifecycle } of this.#byNumber.values()) lifecycle.peer.ended ??= this.#ended
    this.#socket.close(code, reason)
  }

  /** A burst of one turn is not written yet: only who is over the limit two turns later is slow. */
  overflow (): void {
    if (this.#isCheckingSlow || this.#ended !== null) return
    this.#isCheckingSlow = true
    setImmediate(() => setImmediate(() => {
      this.#isCheckingSlow = false
      if (this.#ended !== null || this.#socket.backlog <= this.maxBufferedBytes) return
      for (const { lifecycle } of this.#byNumber.values()) lifecycle.peer.hub.drops.slow++
      this.shutdown(Close.slow, 'too slow')
      setTimeout(() => this.#socket.ws.terminate(), CUT_MS).unref()
    }))
  }

  closed (channel: Channel, code: number, reason: string): void {
    this.#tell({ type: 'closed', id: channel.id, code, reason })
    this.#socket.flush()
    this.#release(channel, code, reason)
  }

  #receive (data: Buffer, isBinary: boolean): void {
    this.#socket.heardAt = performance.now()
    if (this.#ended !== null) return
    const at = readNumber(data)
    if (at === null) return isBinary ? this.shutdown(Close.unsupported, 'a binary message begins with its channel') : this.#control(data)
    const opened = this.#byNumber.get(at.number)
    if (opened !== undefined) opened.lifecycle.receive(data.subarray(at.length), isBinary)
    // The namespace was closed while the frame was in flight.
    else this.#rate()
  }

  /** Counts a control frame; whether the client is within its limit. */
  #rate (): boolean {
    const now = this.#socket.heardAt
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
    else this.#socket.beat()
  }

  async #open (wanted: Open): Promise<void> {
    const { id } = wanted
    if (this.#byId.has(id)) return this.#tell({ type: 'error', error: { code: 'INVALID_MESSAGE', message: 'The id is in use' } })
    const opening: Opening = { channel: null }
    this.#byId.set(id, opening)
    clearTimeout(this.#idle)
    try {
      const admitted = await within(ADMIT_MS, this.#admit(wanted), () => new FST_ERR_WS_NAMESPACES_ADMISSION_TIMEOUT())
      if (!this.#isWanted(id, opening)) return
      const resumeRequest = resumeRequestOf(wanted)
      const slot = await this.#parts.gate.take(admitted, resumeRequest.clientId)
      if (this.#isWanted(id, opening)) this.#begin(slot, admitted.session, id, resumeRequest)
      else slot.free()
    } catch (err) {
      if (!this.#isWanted(id, opening)) return
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
  #isWanted (id: number, opening: Opening): boolean {
    return this.#ended === null && this.#socket.isOpen && this.#byId.get(id) === opening
  }

  /** @throws what the client is told */
  async #admit ({ path, protocols }: Open): Promise<Admitted> {
    const { gate, multiplex: { maxNamespaces } } = this.#parts
    if (this.#byId.size > maxNamespaces) throw new FST_ERR_WS_NAMESPACES_TOO_MANY_NAMESPACES(maxNamespaces)
    const admitted = await gate.admit(withProtocols(this.#request, protocols), path.split('?', 1)[0]!)
    const session = this.#session ?? admitted.session
    // The request has the session as it was at the upgrade, which may have ended since.
    if (session !== null && performance.now() - this.#openedAt > FRESH_MS && !await session.isAlive()) throw new FST_ERR_WS_NAMESPACES_UNAUTHORIZED()
    return { ...admitted, session: admitted.session === null ? null : session }
  }

  /** @throws what the client is told */
  #begin (slot: Slot, session: WatchedSession | null, id: number, resumeRequest: ResumeRequest): void {
    const { hub } = slot
    if ([...this.#byNumber.values()].some(({ lifecycle: { peer } }) => peer.namespace === hub.name)) {
      slot.free()
      throw new FST_ERR_WS_NAMESPACES_ALREADY_OPEN(hub.name)
    }
    this.#session ??= session
    const channel = new Channel(this.#socket, hub.definition.limits.maxBufferedBytes, this, id, hub.channel)
    const lifecycle = new Lifecycle(this.#parts, channel, slot)
    const opened = { channel, lifecycle }
    this.#byId.set(id, opened)
    this.#byNumber.set(channel.number, opened)
    this.#wasUsed = true
    this.#tell({ type: 'opened', id, channel: channel.number })
    lifecycle.start(resumeRequest)
  }

  /** The client leaves a namespace, and gets nothing of it from now on. */
  #close (id: number): void {
    const opened = this.#byId.get(id)
    if (opened === undefined) return
    if (opened.channel === null) this.#byId.delete(id)
    else {
      opened.channel.end()
      this.#release(opened.channel, 1000, '')
    }
    this.#tell({ type: 'closed', id, code: 1000, reason: '' })
    this.#watchIdle()
  }

  /** `onDisconnect` is called in a later turn, as with a socket of one namespace. */
  #release ({ id, number }: Channel, code: number, reason: string): void {
    const opened = this.#byId.get(id)
    this.#byId.delete(id)
    this.#byNumber.delete(number)
    this.#watchIdle()
    if (opened !== undefined && opened.channel !== null) setImmediate(() => opened.lifecycle.end(code, reason))
  }

  #watchIdle (): void {
    clearTimeout(this.#idle)
    if (this.#byId.size > 0 || this.#wasUsed || this.#ended !== null) return
    this.#idle = setTimeout(() => this.shutdown(Close.idle, 'no namespace is open'), IDLE_MS).unref()
  }

  #over (code: number, reason: string): void {
    this.#ended ??= { code, reason }
    clearTimeout(this.#idle)
    this.#parts.sockets.delete(this.#socket)
    const all = [...this.#byNumber.values()]
    this.#byId.clear()
    this.#byNumber.clear()
    for (const { channel, lifecycle } of all) {
      channel.end()
      lifecycle.end(code, reason)
    }
  }

  #tell (message: object): void {
    if (this.#socket.backlog > this.maxBufferedBytes) this.overflow()
    this.#socket.push(new Frame(JSON.stringify(message)).single)
  }
}

function resumeRequestOf ({ path }: Open): ResumeRequest {
  const query = new URLSearchParams(path.split('?', 2)[1])
  return { offset: query.get('offset') || null, clientId: query.get('clientId') || null }
}

/** The request of the upgrade as `authorize` sees it: with the subprotocols that the client offers now, where a bearer token may be. */
function withProtocols (request: FastifyRequest, protocols: readonly string[] = []): FastifyRequest {
  if (protocols.length === 0) return request
  return Object.create(request, { headers: { value: { ...request.headers, 'sec-websocket-protocol': protocols.join(', ') } } }) as FastifyRequest
}
