import { Backoff } from './backoff.ts'
import { Pending } from './pending.ts'
import { ClientError, type ClientOptions, type Messages, type Received, type Status, type WebSocketLike } from './types.ts'
import { isRefused, socketUrl } from './url.ts'

export { ClientError, type ClientOptions, type Messages, type Received, type Status } from './types.ts'

/** Codes after which coming back would change nothing. */
const UNAUTHENTICATED = 4401
const FORBIDDEN = 4403
const OPEN = 1

interface Frame {
  type?: string
  data?: any
  ctx?: Received['ctx']
  id?: string | number
  replyTo?: string | number
  offset?: string
  error?: { code: string, message: string }
}

type Handler = (data: any, message: Received) => unknown

/**
 * A connection to a namespace that comes back by itself and goes on where it was.
 *
 * @typeParam M the namespace's messages, `{ type: data }`
 */
export class Client<M extends Messages = Messages> {
  readonly #url: URL
  readonly #options: ClientOptions
  readonly #WebSocket: NonNullable<ClientOptions['WebSocket']>
  readonly #backoff: Backoff
  readonly #pending = new Pending()
  readonly #handlers = new Map<string, Set<Handler>>()
  #socket: WebSocketLike | null = null
  #timer: ReturnType<typeof setTimeout> | undefined
  #status: Status = 'connecting'
  #clientId: string | null = null
  #offset: string | null = null
  #isClosed = false
  #lastId = 0

  constructor (url: string, options: ClientOptions) {
    this.#options = options
    const WebSocket = options.WebSocket ?? (globalThis as { WebSocket?: NonNullable<ClientOptions['WebSocket']> }).WebSocket
    if (WebSocket === undefined) throw new TypeError('there is no WebSocket here: pass the class of ws as the option WebSocket')
    this.#WebSocket = WebSocket
    this.#url = socketUrl(url)
    this.#backoff = new Backoff(options.minDelayMs ?? 250, options.maxDelayMs ?? 10_000)
    this.#connect()
  }

  /** What the connection is doing now. */
  get status (): Status {
    return this.#status
  }

  /** The name that the server gave this client; null before the first connection. Kept across reconnects, in memory only. */
  get clientId (): string | null {
    return this.#clientId
  }

  /**
   * Hears messages of a type; `'*'` hears all. `connected` comes with each connection: where its `recovered` is false, what
   * was missed is not known, and the application has to load its state. For a message that asks, what the handler returns
   * (or resolves with) is the answer.
   *
   * @returns ends it
   */
  on<T extends keyof M & string> (type: T | 'connected' | '*', handler: (data: T extends keyof M ? M[T] : any, message: Received) => unknown): () => void {
    const handlers = this.#handlers.get(type) ?? new Set()
    this.#handlers.set(type, handlers.add(handler as Handler))
    return () => { handlers.delete(handler as Handler) }
  }

  /** Sends a message. False where there is no connection: it is not kept, since nobody can know whether it still makes sense later. */
  send (type: string, data?: unknown): boolean {
    return this.#write({ type, data })
  }

  /**
   * Sends a message and resolves with the data of its answer. Always settles.
   *
   * @throws ClientError with the server's code, NOT_CONNECTED where there is no connection or it broke, REQUEST_TIMEOUT
   */
  request<T = unknown> (type: string, data?: unknown, { timeoutMs = 10_000 }: { timeoutMs?: number } = {}): Promise<T> {
    const id = String(++this.#lastId)
    const answer = this.#pending.add(id, timeoutMs) as Promise<T>
    if (!this.#write({ type, data, id })) this.#pending.fail(id, new ClientError('NOT_CONNECTED', 'there is no connection'))
    return answer
  }

  /** Joins a room, where the namespace lets clients choose. Resolves when the room is heard; after a reconnect, join again. */
  async join (room: string): Promise<void> {
    await this.request('join', { room })
  }

  /** Leaves a room. */
  async leave (room: string): Promise<void> {
    await this.request('leave', { room })
  }

  /** Ends the connection for good. */
  close (): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#socket?.close(1000)
    this.#drop()
    this.#turn('disconnected')
  }

  #connect (): void {
    const url = new URL(this.#url)
    if (this.#clientId !== null) url.searchParams.set('clientId', this.#clientId)
    if (this.#offset !== null) url.searchParams.set('offset', this.#offset)
    const socket = new this.#WebSocket(url.href)
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => { if (socket === this.#socket) this.#hear(String(data)) })
    socket.addEventListener('close', ({ code }) => { if (socket === this.#socket) this.#lost(code) })
    // A close follows.
    socket.addEventListener('error', () => {})
  }

  #lost (code: number): void {
    this.#drop()
    if (this.#isClosed) return
    if (code === UNAUTHENTICATED || code === FORBIDDEN) return this.#turn('auth-required')
    this.#turn('reconnecting')
    this.#later()
  }

  #later (): void {
    this.#timer = setTimeout(async () => {
      // A browser does not show a page why an upgrade was refused, but answers a plain request of the same address.
      const refused = this.#backoff.attempts > 1 && await isRefused(this.#url)
      if (this.#isClosed) return
      if (refused) this.#turn('auth-required')
      else this.#connect()
    }, this.#backoff.next())
  }

  #drop (): void {
    this.#socket = null
    this.#pending.failAll(new ClientError('NOT_CONNECTED', 'the connection broke before the answer came'))
  }

  #hear (text: string): void {
    let frame: Frame
    try {
      frame = JSON.parse(text)
    } catch {
      return
    }
    const { type = '', data, offset, replyTo, error } = frame
    if (type === 'connected') this.#begin(data)
    else if (offset !== undefined) this.#offset = offset
    if (type === 'offset' && offset !== undefined) return
    if (replyTo !== undefined) return this.#pending.settle(String(replyTo), data, error)
    this.#emit(type, frame)
  }

  #begin ({ clientId, offset, recovered }: { clientId: string, offset: string | null, recovered: boolean }): void {
    this.#clientId = clientId
    // What was missed follows with offsets of its own; a connection that breaks before it came resumes from where we were.
    if (!recovered) this.#offset = offset
    this.#backoff.reset()
    this.#turn('connected')
  }

  #emit (type: string, { data, ctx, id, error }: Frame): void {
    const message: Received = { type, ...(ctx && { ctx }), ...(error && { error }) }
    const results = [...this.#handlers.get(type) ?? [], ...this.#handlers.get('*') ?? []].map(async (handler) => handler(data, message))
    if (id !== undefined) this.#answer(id, results.shift())
    for (const result of results) result.catch((err: unknown) => this.#report(err))
  }

  /** The first handler answers. */
  #answer (id: string | number, result: Promise<unknown> | undefined): void {
    const fail = (code: string, message: string) => { this.#write({ type: 'reply', replyTo: id, error: { code, message } }) }
    if (result === undefined) return fail('UNKNOWN_TYPE', 'nobody answers this')
    result.then((data) => { this.#write({ type: 'reply', replyTo: id, data }) }, (err) => {
      fail('HANDLER_FAILED', 'the handler failed')
      this.#report(err)
    })
  }

  #report (err: unknown): void {
    if (this.#options.onError !== undefined) this.#options.onError(err)
    else setTimeout(() => { throw err })
  }

  #write (frame: object): boolean {
    if (this.#socket?.readyState !== OPEN) return false
    this.#socket.send(JSON.stringify(frame))
    return true
  }

  #turn (status: Status): void {
    if (status === this.#status) return
    this.#status = status
    this.#options.onStatus?.(status)
  }
}

/**
 * Connects to a namespace.
 *
 * @param url absolute, or in a page relative to it: `/api/1/ws/chat`
 */
export function connect<M extends Messages = Messages> (url: string, options: ClientOptions = {}): Client<M> {
  return new Client<M>(url, options)
}
