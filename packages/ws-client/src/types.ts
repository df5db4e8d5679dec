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

/**
 * What is said in a namespace, in both directions, by type of message. One declaration for the server, `create<Chat>(…)` of
 * @jpulse/ws-namespaces, and the client, `connect<Chat>(…)`.
 */
export interface Protocol {
  /** What clients send. */
  toServer: Messages
  /** What they hear. */
  toClient: Messages
  /** What the server answers, by type of what clients ask. Where it is declared, a handler returns nothing else. @default unknown */
  answers?: Messages
  /** What clients answer, by type of what the server asks. @default unknown */
  clientAnswers?: Messages
}

/** A `Protocol` of what was given to `connect`: one, or what is heard and what is sent. */
export type ProtocolOf<M, S = Messages> = M extends { toServer: infer In extends Messages, toClient: infer Out extends Messages }
  ? { toServer: In, toClient: Out, answers: DeclaredIn<M, 'answers'>, clientAnswers: DeclaredIn<M, 'clientAnswers'> }
  : { toServer: S, toClient: M, answers: Record<never, never>, clientAnswers: Record<never, never> }

type DeclaredIn<M, Field extends string> = M extends { [F in Field]: infer Answers extends Messages } ? Answers : Record<never, never>

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
  /** When the authorisation ends unless it is renewed, in milliseconds since 1970 by the server's clock. */
  readonly expiresAt?: number
}

/** What is used of a WebSocket: that of browsers, of Node 22 and newer, and of `ws`. */
export interface WebSocketLike {
  readonly readyState: number
  binaryType?: any
  send (data: any): void
  close (code?: number): void
  addEventListener (type: 'open', listener: () => void): void
  addEventListener (type: 'message', listener: (event: { data: any }) => void): void
  addEventListener (type: 'close', listener: (event: { code: number, reason?: string }) => void): void
  addEventListener (type: 'error', listener: (event: { message?: string }) => void): void
}

type Maybe<T> = T | Promise<T>

/** Where to connect to: absolute, in a page also relative to it. A function is asked at each attempt. */
export type Address = string | (() => Maybe<string>)

/** How much may wait during an outage. */
export interface QueueOptions {
  /** Messages that wait for the server's word that they are done, 1 to 200. @default 100 */
  maxMessages?: number | undefined
  /** Bytes of their JSON. @default 262144 */
  maxBytes?: number | undefined
}

export interface ClientOptions {
  /** Called when the status changes, or more is known of why. What it throws goes to `onError`. */
  onStatus?: ((status: Status, detail: StatusDetail) => void) | undefined
  /**
   * Called with what a handler, `onStatus`, the address or the token threw. @default thrown, where nothing catches it; of the address and
   * the token, which are asked again, nothing but the `reason` of the status
   */
  onError?: ((err: unknown) => void) | undefined
  /** Subprotocols to offer. A function is asked at each attempt. @default none */
  protocols?: string | string[] | (() => Maybe<string | string[]>) | undefined
  /**
   * Gives a bearer token, at each attempt and when the server says that the authorisation ends soon. It travels in a header
   * and never in the address; the server reads it with `bearerOf` and `renew` of @jpulse/ws-namespaces. Nothing, or an empty text: there is none now. @default none
   */
  token?: (() => Maybe<string | null | undefined>) | undefined
  /** The class to connect with; below Node 22 that of `ws`. @default globalThis.WebSocket */
  WebSocket?: (new (url: string, protocols?: string | string[]) => WebSocketLike) | undefined
  /** Longest that an address, a handshake, or the look why one was refused may take, in milliseconds; the server's first message twice that. @default 10000 */
  connectTimeoutMs?: number | undefined
  /** Upper bound of the first pause before coming back, in milliseconds; it doubles with each attempt that fails. The server may name a longer one. @default 250 */
  minDelayMs?: number | undefined
  /** Most that the bound grows to, in milliseconds. @default 10000 */
  maxDelayMs?: number | undefined
  /** Messages and requests that may wait for the first connection. 0: none. @default 32 */
  maxWaiting?: number | undefined
  /**
   * Keeps what is sent until the server says that it is done, in order, also during outages; after one, what nobody knows the fate of
   * is sent again, and the server does it once. @default false
   */
  queue?: boolean | QueueOptions | undefined
}

/** What a namespace on a socket of several may have of its own. */
export type NamespaceOptions = Pick<ClientOptions, 'onStatus' | 'onError' | 'maxWaiting' | 'queue'>

/** What a handler of a type gives: where an answer is declared, that, or nothing, because only the first handler of a type answers. */
type Given<Answers, T> = T extends keyof Answers ? Maybe<Answers[T] | void> : unknown

interface Hearing<In, Answers> {
  (type: 'connected', handler: (data: Connected, message: Received) => unknown): () => void
  (type: 'presence:join' | 'presence:leave', handler: (data: { userId: string }, message: Received) => unknown): () => void
  (type: 'error', handler: (data: undefined, message: Received) => unknown): () => void
  (type: '*', handler: (data: any, message: Received) => unknown): () => void
  <T extends keyof In & string> (type: T, handler: (data: In[T], message: Received) => Given<Answers, T>): () => void
}

/** Data of a message; left out where they may be undefined. */
type Data<D> = undefined extends D ? [data?: D] : [data: D]
type Answer<P extends { answers: unknown }, T> = T extends keyof P['answers'] ? P['answers'][T] : unknown

/** A connection to a namespace that comes back by itself and goes on where it was. */
export interface Client<M = Messages, S = Messages> extends ClientOf<ProtocolOf<M, S>> {}

interface ClientOf<P extends { toServer: unknown, toClient: unknown, answers: unknown, clientAnswers: unknown }> {
  /**
   * Resolves with the first connection; rejects where there will be none, `NOT_CONNECTED`, and where the server knows no such namespace,
   * `NOT_FOUND`: the client goes on trying then, because a deploy may bring it.
   */
  readonly ready: Promise<Connected>
  /** What the connection is doing now. */
  readonly status: Status
  /** The name that the server gave this client; null before the first connection. Kept across reconnects, in memory only. */
  readonly clientId: string | null
  /**
   * Hears messages of a type; `'*'` hears all. `connected` comes with each connection: where its `recovered` is false, what
   * was missed is not known, and the application has to load its state. For a message that asks, what the first handler of its
   * type returns (or resolves with) is the answer. Returns what ends it.
   */
  readonly on: Hearing<P['toClient'], P['clientAnswers']>
  /** Hears each change of the status, as the option of this name does. Returns what ends it. */
  onStatus (handler: (status: Status, detail: StatusDetail) => void): () => void
  /**
   * Sends a message. Before the first connection it waits, up to `maxWaiting`. Later false where there is no connection: it is
   * not kept, since nobody can know whether it still makes sense later; with `queue` false only where the queue is full.
   *
   * @throws ClientError with the code INVALID_DATA where the data have no JSON form
   */
  send<T extends keyof P['toServer'] & string> (type: T, ...data: Data<P['toServer'][T]>): boolean
  /**
   * Sends a message and resolves with the data of its answer. Always settles. Before the first connection it waits, up to `maxWaiting`.
   *
   * @throws ClientError with the server's code; NOT_CONNECTED where there is no connection or it broke; REQUEST_TIMEOUT, INVALID_DATA;
   * with `queue` QUEUE_FULL, OUTCOME_UNKNOWN where it was sent before an outage so long that the server may have forgotten it, and USER_CHANGED
   */
  request<R = void, T extends keyof P['toServer'] & string = keyof P['toServer'] & string> (type: T, data?: P['toServer'][T], options?: { timeoutMs?: number | undefined }): Promise<R extends void ? Answer<P, T> : R>
  /** Joins a room, where the namespace lets clients choose. Resolves when the room is heard. After `connected` with `recovered: false`, join again. */
  join (room: string): Promise<void>
  /** Leaves a room. */
  leave (room: string): Promise<void>
  /**
   * A namespace on this socket, where its address is that of several: `connect('/api/1/ws').namespace('chat')`. It is refused, comes back
   * and is closed by itself; where the socket ends for good, so does it. The same name gives the same client, until that is closed.
   *
   * @param name as in an address: `rooms/${encodeURIComponent(id)}`
   * @param options those of the socket, where it is not said otherwise
   */
  namespace<N = Messages, T = Messages> (name: string, options?: NamespaceOptions): Client<N, T>
  /** Ends the connection for good; that of several, with all of its namespaces. */
  close (): void
}

/** A message that could not be sent, or a request that got no answer. Match on `code`: the server's codes, and those of `request`. */
export class ClientError extends Error {
  override readonly name = 'ClientError'
  declare readonly code: string

  constructor (code: string, message = code) {
    super(message)
    this.code = code
  }
}
