import type { Duplex } from 'node:stream'

/** What is used of a WebSocket of ws, so that its types are not part of ours. */
export interface Socket {
  readonly readyState: number
  readonly extensions: string
  readonly bufferedAmount: number
  close (code: number, reason: string): void
  terminate (): void
  ping (): void
  pause (): void
  resume (): void
  send (data: Buffer, options: { binary: boolean }): void
  on (event: string, listener: (...args: any[]) => void): unknown
  removeAllListeners (event: string): unknown
  /** Not public: the TCP socket. */
  readonly _socket?: Duplex | null
}

export const OPEN = 1
