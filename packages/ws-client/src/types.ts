/** What connecting is up to: `auth-required` and `disconnected` are final. */
export type Status = 'connecting' | 'connected' | 'reconnecting' | 'disconnected' | 'auth-required'

/** Why a status is what it is. */
export interface StatusDetail {
  /** Close code of the last connection, 1006 where it ended without one; undefined while connected. */
  readonly code?: number
  /** What the server, or the way to it, said of the end. */
  readonly reason?: string
  /** Status of the HTTP answer that came in place of a WebSocket, where it is known. */
  readonly httpStatus?: number
}

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

/** Data of `connected`. */
export interface Connected {
  readonly clientId: string
  /** Who the server takes this client for; null for a guest. */
  readonly userId?: string | null
  readonly namespace: string
  readonly limits: { readonly maxMessageBytes: number, readonly messages: number, readonly windowMs: number }
  /** Whether everything since the last connection is delivered. */
  readonly recovered: boolean
  readonly offset: string | null
}

/** What is used of a WebSocket: that of browsers, of Node 22 and newer, and of `ws`. */
export interface WebSocketLike {
  readonly readyState: number
  send (data: string): void
  close (code?: number): void
  addEventListener (type: 'open', listener: () => void): void
  addEventListener (type: 'message', listener: (event: { data: any }) => void): void
  addEventListener (type: 'close', listener: (event: { code: number, reason?: string }) => void): void
  addEventListener (type: 'error', listener: (event: { message?: string }) => void): void
}

type Maybe<T> = T | Promise<T>

/** Where to connect to: absolute, in a page also relative to it. A function is asked at each attempt. */
export type Address = string | (() => Maybe<string>)

export interface ClientOptions {
  /** Called when the status changes, or more is known of why. What it throws goes to `onError`. */
  onStatus?: (status: Status, detail: StatusDetail) => void
  /** Called with what a handler, `onStatus` or the address threw. @default thrown, where nothing catches it */
  onError?: (err: unknown) => void
  /** Subprotocols to offer. A function is asked at each attempt. @default none */
  protocols?: string | string[] | (() => Maybe<string | string[]>)
  /** The class to connect with; below Node 22 that of `ws`. @default globalThis.WebSocket */
  WebSocket?: new (url: string, protocols?: string | string[]) => WebSocketLike
  /** Longest that an address, a handshake, or the look why one was refused may take, in milliseconds; the server's first message twice that. @default 10000 */
  connectTimeoutMs?: number
  /** Upper bound of the first pause before coming back, in milliseconds; it doubles with each attempt that fails. The server may name a longer one. @default 250 */
  minDelayMs?: number
  /** Most that the bound grows to, in milliseconds. @default 10000 */
  maxDelayMs?: number
  /** Messages and requests that may wait for the first connection. 0: none. @default 32 */
  maxWaiting?: number
}

/** A message that could not be sent, or a request that got no answer. Match on `code`: the server's codes, `NOT_CONNECTED`, `REQUEST_TIMEOUT` and `INVALID_DATA`. */
export class ClientError extends Error {
  readonly code: string

  constructor (code: string, message: string) {
    super(message)
    this.name = 'ClientError'
    this.code = code
  }
}
