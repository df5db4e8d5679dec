import type { Duplex } from 'node:stream'

/** What is used of a WebSocket of ws, so that its types are not part of ours. */
export interface Socket {
  readonly readyState: number
  readonly extensions: string
  readonly bufferedAmount: number
  close (code: number, reason: string): void
  terminate (): void
  /** @param sent called when the kernel has taken it */
  ping (data: undefined, mask: undefined, sent: () => void): void
  pause (): void
  resume (): void
  send (data: Buffer, options: { binary: boolean }): void
  on (event: string, listener: (...args: any[]) => void): unknown
  removeAllListeners (event: string): unknown
  /** Not public: the TCP socket. */
  readonly _socket?: TcpSocket | null
}

/** Of a TCP or TLS socket, with what Node's own idle timeout goes by. */
interface TcpSocket extends Duplex {
  readonly bytesRead?: number
  readonly bytesWritten?: number
  readonly _handle?: { readonly bytesWritten?: number, readonly writeQueueSize?: number } | null | undefined
}

export const OPEN = 1
