import { HEARTBEAT } from '@jpulse/ws-client/wire'
import type { WatchedSession } from '../admission/watched-session.ts'
import { bodyOf, Frame } from './frame.ts'
import { OPEN, type Socket } from './socket.ts'

/** A queue of so many bytes is written at once, without waiting for the end of the turn. */
const FLUSH_BYTES = 64 * 1024
const HEARTBEAT_FRAME = new Frame(JSON.stringify({ type: HEARTBEAT }))

/** The sockets with a queue to write at the end of this turn of the event loop. */
class Flusher {
  #dirty: QueuedSocket[] = []
  #joined: { first: Buffer, others: readonly Buffer[], bytes: Buffer } | null = null

  mark (socket: QueuedSocket): void {
    if (this.#dirty.push(socket) === 1) setImmediate(this.#flush)
  }

  /** The frames in one Buffer, shared by all sockets that have the same frames to send. */
  join (first: Buffer, others: readonly Buffer[], length: number): Buffer {
    const joined = this.#joined
    const isSame = joined !== null && joined.first === first && joined.others.length === others.length && others.every((frame, index) => frame === joined.others[index])
    if (isSame) return joined.bytes
    const bytes = Buffer.concat([first, ...others], length)
    this.#joined = { first, others, bytes }
    return bytes
  }

  readonly #flush = (): void => {
    const dirty = this.#dirty
    this.#dirty = []
    for (const socket of dirty) socket.flush()
    this.#joined = null
  }
}

const flusher = new Flusher()

/** Who uses a socket: the connection to one namespace, or the `Multiplex` of several. */
export interface SocketOwner {
  /** Whether the client can be pinged: it was told that it is connected. */
  readonly isReady: boolean
  /** The session that it was opened with. */
  readonly session: WatchedSession | null
  /** The session is dead: ends what was let in by it. */
  expire (): void
  /** Ends every connection and the socket. */
  shutdown (code: number, reason: string): void
}

/**
 * One WebSocket and its queue of outgoing frames. One queue for everything, so that a client gets messages in the order in which they
 * were sent, and what falls into one turn of the event loop leaves in one write.
 *
 * Measured (benchmarks/ws-namespaces): coalescing takes a burst from half to a seventh of a naive loop's CPU per delivery.
 */
export class QueuedSocket {
  readonly ws: Socket
  /** Whether the client asked for heartbeat frames. */
  readonly hasHeartbeat: boolean
  owner!: SocketOwner
  /** When it was last heard, and last pinged, on the monotonic clock. */
  heardAt = performance.now()
  pingedAt = this.heardAt
  /** How often its silence was excused since the last ping, because bytes moved. */
  waits = 0
  /** Bytes that were pushed since the beginning. */
  pushed = 0
  /** Whether the last ping waits in this process, behind other bytes. */
  #isPingWaiting = false
  /** Bytes that were read, and taken by the kernel, at the last look. */
  #read = 0
  #taken = 0
  /** Asked once: the getter of ws makes a text each time. */
  readonly #isCompressed: boolean
  /** The queue: mostly there is one frame in a turn, and an array for each of them would be a third of the work. */
  #first: Buffer | null = null
  #others: Buffer[] | null = null
  #bytes = 0

  constructor (ws: Socket, hasHeartbeat: boolean) {
    this.ws = ws
    this.hasHeartbeat = hasHeartbeat
    this.#isCompressed = ws.extensions !== ''
  }

  get isOpen (): boolean {
    return this.ws.readyState === OPEN
  }

  /** Bytes that the kernel has not taken yet, on every layer: this queue, the compressor, the TCP socket's buffer. */
  get backlog (): number {
    const { ws } = this
    // Without compression the getter of ws says the same, at a higher cost.
    return this.#bytes + (this.#isCompressed ? ws.bufferedAmount : ws._socket?.writableLength ?? 0)
  }

  push (frame: Buffer): void {
    if (this.#first === null) {
      this.#first = frame
      flusher.mark(this)
    } else (this.#others ??= []).push(frame)
    this.#bytes += frame.length
    this.pushed += frame.length
    if (this.#bytes >= FLUSH_BYTES) this.flush()
  }

  flush (): void {
    const [first, others, bytes] = [this.#first, this.#others, this.#bytes]
    if (first === null) return
    this.#first = this.#others = null
    this.#bytes = 0
    if (!this.isOpen) return
    const { ws } = this
    if (ws._socket == null || this.#isCompressed) {
      for (const frame of [first, ...others ?? []]) {
        const { body, binary } = bodyOf(frame)
        ws.send(body, { binary })
      }
    } else ws._socket.write(others === null ? first : flusher.join(first, others, bytes))
  }

  /** Asks the client to let itself be heard. */
  ping (): void {
    this.pingedAt = performance.now()
    this.waits = 0
    this.#isPingWaiting = true
    this.isMoving()
    this.ws.ping(undefined, undefined, () => {
      this.#isPingWaiting = false
      if (this.heardAt < this.pingedAt) this.pingedAt = performance.now()
    })
    this.beat()
  }

  /**
   * Whether bytes moved since the last look, though no whole message came: the client is about to send a long one, or to take what lies
   * before the ping. Who is slow is not dead. What leaves after the ping says nothing: the kernel takes it, whether anybody is there or not.
   */
  isMoving (): boolean {
    const { bytesRead = 0, bytesWritten = 0, writableLength = 0, _handle } = this.ws._socket ?? {}
    // Also what the kernel took of a write that is under way: one may hold all that waits.
    const taken = _handle?.writeQueueSize === undefined ? bytesWritten - writableLength : _handle.bytesWritten! - _handle.writeQueueSize
    const isMoving = bytesRead > this.#read || (this.#isPingWaiting && taken > this.#taken)
    this.#read = bytesRead
    this.#taken = taken
    return isMoving
  }

  /** A heartbeat frame for clients that asked for it: pages do not see pings. */
  beat (): void {
    if (this.hasHeartbeat) this.push(HEARTBEAT_FRAME.single)
  }

  close (code: number, reason: string): void {
    this.flush()
    this.ws.close(code, reason)
  }
}
