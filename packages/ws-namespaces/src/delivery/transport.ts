import type { Frame } from './frame.ts'
import type { QueuedSocket } from './queued-socket.ts'

/** `overflow`: queued, but over the limit. `refused`: not queued, so the connection has to end. `dropped`: volatile, not queued. */
export type Pushed = 'queued' | 'dropped' | 'overflow' | 'refused'

/** Times the limit: more is never buffered, not even within one turn of the event loop. */
const HARD_LIMIT = 4

/** Carries the frames of one namespace to one client. */
export abstract class Transport {
  readonly socket: QueuedSocket
  /** Whether the socket has other namespaces too, and a heartbeat of its own. */
  readonly isShared: boolean = false
  readonly #most: number
  /** Bytes that were pushed since the buffer of this namespace was last empty. */
  #buffered = 0
  /** The value of the socket's `pushed` after our last frame. */
  #end = 0
  /** Bytes of a replay, which the limit does not count. */
  #allowance = 0

  constructor (socket: QueuedSocket, maxBufferedBytes: number) {
    this.socket = socket
    this.#most = maxBufferedBytes
  }

  abstract get isOpen (): boolean
  /** Ends it with a word to the client. */
  abstract close (code: number, reason: string): void
  /** Ends it at once. */
  abstract terminate (): void
  /** Some time after the close for slowness: cuts the socket where the client still does not read. */
  abstract cut (): void
  /** Reads nothing of the client until `resume`. */
  abstract pause (): void
  abstract resume (): void
  protected abstract encode (frame: Frame): Buffer

  /** Whether more is buffered than the limit allows. */
  get isOverLimit (): boolean {
    return this.#backlog > this.#most + this.#allowance
  }

  /** Volatile frames are dropped where the client is slow. */
  push (frame: Frame, volatile = false): Pushed {
    const backlog = this.#backlog
    const isOver = backlog > this.#most + this.#allowance
    if (isOver && volatile) return 'dropped'
    if (isOver && backlog > HARD_LIMIT * this.#most + this.#allowance) return 'refused'
    this.#push(this.encode(frame))
    return isOver ? 'overflow' : 'queued'
  }

  /** Pushes a missed message: a client that resumes after a long absence is not slow for that. */
  replay (frame: Frame): void {
    const bytes = this.encode(frame)
    this.#allowance += bytes.length
    this.#push(bytes)
  }

  #push (bytes: Buffer): void {
    this.socket.push(bytes)
    this.#buffered += bytes.length
    this.#end = this.socket.pushed
  }

  /** The part of the socket's backlog that can be of this namespace; frames leave in the order in which they were pushed. */
  get #backlog (): number {
    const { backlog, pushed } = this.socket
    if (pushed - backlog >= this.#end) this.#buffered = this.#allowance = 0
    return Math.min(this.#buffered, backlog)
  }
}

/** A socket of one namespace. */
export class SingleTransport extends Transport {
  get isOpen (): boolean {
    return this.socket.isOpen
  }

  close (code: number, reason: string): void {
    this.socket.close(code, reason)
  }

  terminate (): void {
    this.socket.ws.terminate()
  }

  cut (): void {
    this.socket.ws.terminate()
  }

  pause (): void {
    this.socket.ws.pause()
  }

  resume (): void {
    this.socket.ws.resume()
  }

  protected encode (frame: Frame): Buffer {
    return frame.single
  }
}
