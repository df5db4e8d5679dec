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
  #joined: { frames: readonly Buffer[], bytes: Buffer } | null = null

  mark (socket: QueuedSocket): void {
    if (this.#dirty.push(socket) === 1) setImmediate(this.#flush)
  }

  /** The frames in one Buffer, shared by all sockets that have the same frames to send. */
  join (frames: readonly Buffer[], length: number): Buffer {
    const joined = this.#joined
    if (joined !== null && joined.frames.length === frames.length && frames.every((frame, index) => frame === joined.frames[index])) return joined.bytes
    const bytes = Buffer.concat(frames, length)
    this.#joined = { frames, bytes }
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
  /** Bytes that were pushed since the beginning. */
  pushed = 0
  #queue: Buffer[] = []
  #bytes = 0

  constructor (ws: Socket, hasHeartbeat: boolean) {
    this.ws = ws
    this.hasHeartbeat = hasHeartbeat
  }

  get isOpen (): boolean {
    return this.ws.readyState === OPEN
  }

  /** Bytes that the kernel has not taken yet, on every layer: this queue, the compressor, the TCP socket's buffer. */
  get backlog (): number {
    const { ws } = this
    // Without compression the getter of ws says the same, at a higher cost.
    return this.#bytes + (ws.extensions === '' ? ws._socket?.writableLength ?? 0 : ws.bufferedAmount)
  }

  push (frame: Buffer): void {
    if (this.#queue.push(frame) === 1) flusher.mark(this)
    this.#bytes += frame.length
    this.pushed += frame.length
    if (this.#bytes >= FLUSH_BYTES) this.flush()
  }

  flush (): void {
    const queue = this.#queue
    if (queue.length === 0) return
    const bytes = this.#bytes
    this.#queue = []
    this.#bytes = 0
    if (!this.isOpen) return
    const { ws } = this
    if (ws._socket == null || ws.extensions !== '') {
      for (const frame of queue) {
        const { body, binary } = bodyOf(frame)
        ws.send(body, { binary })
      }
    } else ws._socket.write(queue.length === 1 ? queue[0]! : flusher.join(queue, bytes))
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
