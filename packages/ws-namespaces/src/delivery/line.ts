import { HEARTBEAT } from '@jpulse/ws-client/wire'
import type { WatchedSession } from '../admission/watched-session.ts'
import { bodyOf, Frame } from './frame.ts'
import { OPEN, type Socket } from './socket.ts'

/** From here on a tick's messages are written at once. */
const FLUSH_BYTES = 64 * 1024
const HEARTBEAT_FRAME = new Frame(JSON.stringify({ type: HEARTBEAT }))

/** Lines that have something to send at the end of this turn of the event loop. */
class Flusher {
  #dirty: Line[] = []
  #joined: { frames: readonly Buffer[], bytes: Buffer } | null = null

  mark (line: Line): void {
    if (this.#dirty.push(line) === 1) setImmediate(this.#flush)
  }

  /** One Buffer of several. Sockets that owe the same share it, also in memory. */
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
    for (const line of dirty) line.flush()
    this.#joined = null
  }
}

const flusher = new Flusher()

/** Who uses a line: the connection to one namespace, or those to several. */
export interface LineOwner {
  /** Whether the client reads and answers already. */
  readonly isReady: boolean
  /** With which it was opened. */
  readonly session: WatchedSession | null
  /** The session is dead: ends what was let in by it. */
  expire (): void
  /** Ends every connection and the socket. */
  shutdown (code: number, reason: string): void
}

/**
 * One WebSocket, and what it has to send. One queue for everything, so that a client gets messages in the order in which they
 * were sent, and what falls into one turn of the event loop leaves in one write.
 *
 * Measured (benchmarks/ws-namespaces): coalescing takes a burst from half to a seventh of a naive loop's CPU per delivery.
 */
export class Line {
  readonly socket: Socket
  /** Whether the client wants to see that the server is there. */
  readonly hasHeartbeat: boolean
  owner!: LineOwner
  /** When it was last heard, and last pinged, on the monotonic clock. */
  heardAt = performance.now()
  pingedAt = this.heardAt
  /** Bytes that were ever pushed. */
  pushed = 0
  #queue: Buffer[] = []
  #bytes = 0

  constructor (socket: Socket, hasHeartbeat: boolean) {
    this.socket = socket
    this.hasHeartbeat = hasHeartbeat
  }

  get isOpen (): boolean {
    return this.socket.readyState === OPEN
  }

  /** Bytes that the client has not taken yet, on every layer: here, in the compressor and in the socket. */
  get backlog (): number {
    const { socket } = this
    // Without compression the getter of ws says the same, at a higher price.
    return this.#bytes + (socket.extensions === '' ? socket._socket?.writableLength ?? 0 : socket.bufferedAmount)
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
    const { socket } = this
    if (socket._socket == null || socket.extensions !== '') {
      for (const frame of queue) {
        const { body, binary } = bodyOf(frame)
        socket.send(body, { binary })
      }
    } else socket._socket.write(queue.length === 1 ? queue[0]! : flusher.join(queue, bytes))
  }

  /** Lets a client that asked for it see that the server is there. */
  beat (): void {
    if (this.hasHeartbeat) this.push(HEARTBEAT_FRAME.alone)
  }

  close (code: number, reason: string): void {
    this.flush()
    this.socket.close(code, reason)
  }
}
