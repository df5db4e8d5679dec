/** What connecting is up to: `auth-required` and `disconnected` are final. */
export type Status = 'connecting' | 'connected' | 'reconnecting' | 'disconnected' | 'auth-required'

/** Data by type of message, of a namespace. */
export type Messages = Record<string, any>

/** A message beside its data. */
export interface Received {
  readonly type: string
  /** Who sent it, where a client did. */
  readonly ctx?: { readonly userId: string | null, readonly [field: string]: unknown }
  /** Of a message of type `error`. */
  readonly error?: { readonly code: string, readonly message: string }
}

/** What is used of a WebSocket: that of browsers, of Node 22 and newer, and of `ws`. */
export interface WebSocketLike {
  readonly readyState: number
  send (data: string): void
  close (code?: number): void
  addEventListener (type: 'message', listener: (event: { data: any }) => void): void
  addEventListener (type: 'close', listener: (event: { code: number }) => void): void
  addEventListener (type: 'error', listener: () => void): void
}

export interface ClientOptions {
  /** Called when the status changes. */
  onStatus?: (status: Status) => void
  /** Called with what a handler threw. @default thrown, where nothing catches it */
  onError?: (err: unknown) => void
  /** The class to connect with; below Node 22 that of `ws`. @default globalThis.WebSocket */
  WebSocket?: new (url: string) => WebSocketLike
  /** Upper bound of the first pause before coming back, in milliseconds; it doubles with each attempt. @default 250 */
  minDelayMs?: number
  /** Most that the bound grows to, in milliseconds. @default 10000 */
  maxDelayMs?: number
}

/** A request that got no answer. Match on `code`: the server's codes, `NOT_CONNECTED` and `REQUEST_TIMEOUT`. */
export class ClientError extends Error {
  readonly code: string

  constructor (code: string, message: string) {
    super(message)
    this.name = 'ClientError'
    this.code = code
  }
}
