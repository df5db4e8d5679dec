import type { Frame } from './frame.ts'
import type { Line } from './line.ts'

/** What a push meant: `overflow` is queued, but the client is slow; `refused` is not, and the client has to go. */
export type Pushed = 'queued' | 'dropped' | 'overflow' | 'refused'

/** So many times the limit nobody may owe, not even for a moment. */
const HARD = 4

/** Carries the frames of one namespace to one client. */
export abstract class Transport {
  readonly line: Line
  /** Whether the socket has other namespaces too, and a heartbeat of its own. */
  readonly isShared: boolean = false
  readonly #most: number
  /** What was pushed here since the client had taken all of it. */
  #owed = 0
  /** Where in what was pushed on the line the last of it ends. */
  #end = 0
  /** What a replay may owe beyond the limit. */
  #allowance = 0

  constructor (line: Line, maxBufferedBytes: number) {
    this.line = line
    this.#most = maxBufferedBytes
  }

  abstract get isOpen (): boolean
  /** Ends it with a word to the client. */
  abstract close (code: number, reason: string): void
  /** Ends it at once. */
  abstract terminate (): void
  /** The client was told that it is too slow, and had time: ends it where it still does not read. */
  abstract cut (): void
  /** Reads nothing of the client until `resume`. */
  abstract pause (): void
  abstract resume (): void
  protected abstract encode (frame: Frame): Buffer

  /** Whether the client owes more than it may. */
  get isOver (): boolean {
    return this.#backlog > this.#most + this.#allowance
  }

  /** Volatile frames are dropped where the client is slow. */
  push (frame: Frame, volatile = false): Pushed {
    const over = this.isOver
    if (over && volatile) return 'dropped'
    if (over && this.#backlog > HARD * this.#most + this.#allowance) return 'refused'
    this.#push(this.encode(frame))
    return over ? 'overflow' : 'queued'
  }

  /** What does not count as owed until the client has taken all. */
  replay (frame: Frame): void {
    const bytes = this.encode(frame)
    this.#allowance += bytes.length
    this.#push(bytes)
  }

  #push (bytes: Buffer): void {
    this.line.push(bytes)
    this.#owed += bytes.length
    this.#end = this.line.pushed
  }

  /** What of the line's backlog can be of this namespace: it is taken in the order in which it was pushed. */
  get #backlog (): number {
    const { backlog, pushed } = this.line
    if (pushed - backlog >= this.#end) this.#owed = this.#allowance = 0
    return Math.min(this.#owed, backlog)
  }
}

/** A socket of one namespace. */
export class Socketed extends Transport {
  get isOpen (): boolean {
    return this.line.isOpen
  }

  close (code: number, reason: string): void {
    this.line.close(code, reason)
  }

  terminate (): void {
    this.line.socket.terminate()
  }

  cut (): void {
    this.line.socket.terminate()
  }

  pause (): void {
    this.line.socket.pause()
  }

  resume (): void {
    this.line.socket.resume()
  }

  protected encode (frame: Frame): Buffer {
    return frame.alone
  }
}
