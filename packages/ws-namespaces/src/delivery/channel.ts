import type { Frame } from './frame.ts'
import type { QueuedSocket } from './queued-socket.ts'
import { Transport } from './transport.ts'

/** The socket that a channel is part of. */
export interface ChannelOwner {
  /** The server ends it. */
  closed (channel: Channel, code: number, reason: string): void
  /** The socket's backlog exceeds its limit. */
  overflow (): void
  /** Limit of the socket's backlog in bytes, all namespaces together. */
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

  constructor (socket: QueuedSocket, maxBufferedBytes: number, owner: ChannelOwner, id: number, number: number) {
    super(socket, maxBufferedBytes)
    this.#owner = owner
    this.id = id
    this.number = number
  }

  get isOpen (): boolean {
    return this.#isOpen && this.socket.isOpen
  }

  override push (frame: Frame, volatile = false): ReturnType<Transport['push']> {
    // Frames after the end are discarded, as on a closed socket.
    if (!this.#isOpen) return 'queued'
    if (this.socket.backlog > this.#owner.maxBufferedBytes) this.#owner.overflow()
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

  /** Frames leave in order: who has not taken this namespace's takes nothing of the others either. */
  cut (): void {
    if (this.isOverLimit) this.socket.ws.terminate()
  }

  /** Nothing to do: the other namespaces of the socket are read on, and `Dispatcher` drops what comes too early. */
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
