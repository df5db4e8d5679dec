import { OPEN, type Socket } from './socket.ts'

/** What a push meant: `overflow` is queued, but the client is slow; `refused` is not, and the client has to go. */
export type Pushed = 'queued' | 'dropped' | 'overflow' | 'refused'

/** From here on a tick's messages are written at once. */
const FLUSH_BYTES = 64 * 1024
/** So many times the limit nobody may owe, not even for a moment. */
const HARD = 4

/** Sockets that have something to send at the end of this turn of the event loop. */
class Flusher {
  #dirty: Outlet[] = []
  #joined: { frames: readonly Buffer[], bytes: Buffer } | null = null

  mark (outlet: Outlet): void {
    if (this.#dirty.push(outlet) === 1) setImmediate(this.#flush)
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
    for (const outlet of dirty) outlet.flush()
    this.#joined = null
  }
}

const flusher = new Flusher()

/**
 * What a socket has to send. One queue for everything, so that a client gets messages in the order in which they were
 * sent, and what falls into one turn of the event loop leaves in one write.
 *
 * Measured (benchmarks/ws-namespaces): coalescing takes a burst from half to a seventh of a naive loop's CPU per delivery.
 */
export class Outlet {
  readonly #socket: Socket
  readonly #most: number
  #queue: Buffer[] = []
  #bytes = 0
  /** What a replay may owe beyond the limit. */
  #allowance = 0

  constructor (socket: Socket, maxBufferedBytes: number) {
    this.#socket = socket
    this.#most = maxBufferedBytes
  }

  /** Bytes that the client has not taken yet. */
  get backlog (): number {
    const raw = this.#socket._socket
    return this.#bytes + (raw === undefined || raw === null ? 0 : raw.writableLength)
  }

  /** Whether the client owes more than it may. */
  get isOver (): boolean {
    const { backlog } = this
    if (backlog === 0) this.#allowance = 0
    return backlog > this.#most + this.#allowance
  }

  /** Volatile frames are dropped where the client is slow. */
  push (frame: Buffer, volatile = false): Pushed {
    const over = this.isOver
    if (over && volatile) return 'dropped'
    if (over && this.backlog > HARD * this.#most + this.#allowance) return 'refused'
    if (this.#queue.push(frame) === 1) flusher.mark(this)
    this.#bytes += frame.length
    if (this.#bytes >= FLUSH_BYTES) this.flush()
    return over ? 'overflow' : 'queued'
  }

  /** What is pushed next does not count as owed until the client has taken all. */
  allow (bytes: number): void {
    this.#allowance += bytes
  }

  flush (): void {
    const queue = this.#queue
    if (queue.length === 0) return
    const bytes = this.#bytes
    this.#queue = []
    this.#bytes = 0
    if (this.#socket.readyState !== OPEN) return
    const raw = this.#socket._socket
    if (raw === undefined || raw === null || this.#socket.extensions !== '') {
      for (const frame of queue) this.#socket.send(bodyOf(frame), { binary: false })
    } else raw.write(queue.length === 1 ? queue[0]! : flusher.join(queue, bytes))
  }
}

/** The text of a frame of ours, for a socket that compresses. */
function bodyOf (frame: Buffer): Buffer {
  const length = frame[1]!
  return frame.subarray(length < 126 ? 2 : length === 126 ? 4 : 10)
}
