import type { Frame } from './frame.ts'
import type { Line } from './line.ts'
import { Transport } from './transport.ts'

/** What a channel says to the socket that it is part of. */
export interface ChannelOwner {
  /** The server ends it. */
  closed (channel: Channel, code: number, reason: string): void
  /** All that waits in the socket is more than may. */
  overflow (): void
  /** Most that may wait in the socket, whichever namespaces it is of. */
  readonly maxBufferedBytes: number
}

/** One namespace on a socket that it shares with others. */
export class Channel extends Transport {
  override readonly isShared = true
  /** By which the client named it when it asked for it. */
  readonly id: number
  /** Begins each of its frames. */
  readonly number: number
  readonly #owner: ChannelOwner
  #isOpen = true

  constructor (line: Line, maxBufferedBytes: number, owner: ChannelOwner, id: number, number: number) {
    super(line, maxBufferedBytes)
    this.#owner = owner
    this.id = id
    this.number = number
  }

  get isOpen (): boolean {
    return this.#isOpen && this.line.isOpen
  }

  override push (frame: Frame, volatile = false): ReturnType<Transport['push']> {
    // As on a closed socket: what comes later is nobody's.
    if (!this.#isOpen) return 'queued'
    if (this.line.backlog > this.#owner.maxBufferedBytes) this.#owner.overflow()
    return super.push(frame, volatile)
  }

  close (code: number, reason: string): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#owner.closed(this, code, reason)
  }

  terminate (): void {
    this.close(1001, 'replaced')
  }

  /** The client reads nothing of any namespace, or it would have taken this one's. */
  cut (): void {
    if (this.isOver) this.line.socket.terminate()
  }

  /** The client cannot send before it is told the number, and the other namespaces go on. */
  pause (): void {}

  resume (): void {}

  /** The socket is over, or the client does not want it any more. */
  end (): void {
    this.#isOpen = false
  }

  protected encode (frame: Frame): Buffer {
    return frame.on(this.number)
  }
}
