import { socketUrl } from './address.ts'
import { environment, type Environment } from './environment.ts'
import { Handlers, parse, type Frame, type Handler } from './handlers.ts'
import { Machine, type Effect, type Event, type Liveness } from './machine.ts'
import { openSocket } from './open-socket.ts'
import { Pending } from './pending.ts'
import { toJson } from './to-json.ts'
import { ClientError, type Address, type ClientOptions, type Connected, type Messages, type Received, type Status, type StatusDetail, type WebSocketLike } from './types.ts'
import { HEARTBEAT } from './wire.ts'

export { ClientError, type Address, type ClientOptions, type Connected, type Messages, type Received, type Status, type StatusDetail } from './types.ts'

const OPEN = 1
const CONNECT_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 10_000

/** What only the client itself reads of `connected`; servers before 0.2 say nothing of it. */
interface Welcome extends Connected {
  readonly heartbeat?: Liveness
  readonly reconnectWindowMs?: number
}

interface Settle { resolve (data: Connected): void, reject (err: ClientError): void }

/**
 * A connection to a namespace that comes back by itself and goes on where it was.
 *
 * @typeParam M what the server sends, `{ type: data }`
 * @typeParam S what this client sends, likewise
 */
export class Client<M extends Messages = Messages, S extends Messages = Messages> {
  /** Resolves with the first connection; rejects where there will be none: `NOT_CONNECTED`. */
  readonly ready: Promise<Connected>
  readonly #address: Address
  readonly #options: ClientOptions
  readonly #env: Environment
  readonly #WebSocket: NonNullable<ClientOptions['WebSocket']>
  readonly #machine: Machine
  readonly #pending = new Pending()
  readonly #handlers = new Handlers((frame) => { this.#write(frame) }, (err) => this.#report(err))
  readonly #unlisten: () => void
  readonly #settle: Settle
  #url: URL | null = null
  #protocols: string | string[] | undefined
  #socket: WebSocketLike | null = null
  #timer: { readonly handle: unknown, readonly due: number } | null = null
  /** What waits for the first connection; null after it. */
  #waiting: Array<{ json: string, id?: string }> | null = []
  #clientId: string | null = null
  #offset: string | null = null
  #lastId = 0

  constructor (address: Address, options: ClientOptions, env: Environment = environment) {
    const WebSocket = options.WebSocket ?? env.WebSocket
    if (WebSocket === undefined) throw new TypeError('there is no WebSocket here: pass the class of ws as the option WebSocket')
    const { connectTimeoutMs = CONNECT_TIMEOUT_MS, minDelayMs = 250, maxDelayMs = 10_000 } = options
    // A bad one is told at once, unless it has to be asked for.
    if (typeof address === 'string') socketUrl(address)
    this.#address = address
    this.#options = options
    this.#env = env
    this.#WebSocket = WebSocket
    // A class of one's own may send what a plain request would not.
    const canProbe = options.WebSocket === undefined && env.canFetch
    this.#machine = new Machine({ connectTimeoutMs, minDelayMs, maxDelayMs, isRenewable: typeof address === 'function', canProbe, random: env.random })
    let settle: Settle
    this.ready = new Promise((resolve, reject) => { settle = { resolve, reject } })
    this.#settle = settle!
    this.ready.catch(() => {})
    this.#unlisten = env.onWake(() => this.#dispatch({ type: 'wake' }))
    this.#run(this.#machine.start(env.now()))
  }

  /** What the connection is doing now. */
  get status (): Status {
    return this.#machine.status
  }

  /** The name that the server gave this client; null before the first connection. Kept across reconnects, in memory only. */
  get clientId (): string | null {
    return this.#clientId
  }

  /**
   * Hears messages of a type; `'*'` hears all. `connected` comes with each connection: where its `recovered` is false, what
   * was missed is not known, and the application has to load its state. For a message that asks, what the first handler of its
   * type returns (or resolves with) is the answer. Returns what ends it.
   */
  on (type: 'connected', handler: (data: Connected, message: Received) => unknown): () => void
  on (type: 'presence:join' | 'presence:leave', handler: (data: { userId: string }, message: Received) => unknown): () => void
  on (type: 'error', handler: (data: undefined, message: Received) => unknown): () => void
  on (type: '*', handler: (data: any, message: Received) => unknown): () => void
  on<T extends keyof M & string> (type: T, handler: (data: M[T], message: Received) => unknown): () => void
  on (type: string, handler: Handler): () => void {
    return this.#handlers.add(type, handler)
  }

  /**
   * Sends a message. Before the first connection it waits, up to `maxWaiting`. Later false where there is no connection: it is
   * not kept, since nobody can know whether it still makes sense later.
   *
   * @throws ClientError with the code INVALID_DATA where the data have no JSON form
   */
  send<T extends keyof S & string> (type: T, data?: S[T]): boolean {
    return this.#write({ type, data })
  }

  /**
   * Sends a message and resolves with the data of its answer. Always settles. Before the first connection it waits, up to `maxWaiting`.
   *
   * @throws ClientError with the server's code, NOT_CONNECTED where there is no connection or it broke, REQUEST_TIMEOUT, INVALID_DATA
   */
  async request<T = unknown> (type: keyof S & string, data?: S[keyof S], { timeoutMs = REQUEST_TIMEOUT_MS }: { timeoutMs?: number } = {}): Promise<T> {
    return await this.#ask(type, data, timeoutMs) as T
  }

  /** Joins a room, where the namespace lets clients choose. Resolves when the room is heard. After `connected` with `recovered: false`, join again. */
  async join (room: string): Promise<void> {
    await this.#ask('join', { room })
  }

  /** Leaves a room. */
  async leave (room: string): Promise<void> {
    await this.#ask('leave', { room })
  }

  /** Ends the connection for good. */
  close (): void {
    this.#dispatch({ type: 'close' })
  }

  async #ask (type: string, data: unknown, timeoutMs = REQUEST_TIMEOUT_MS): Promise<unknown> {
    const id = String(++this.#lastId)
    if (!this.#write({ type, data, id })) throw new ClientError('NOT_CONNECTED', 'there is no connection')
    return await this.#pending.add(id, timeoutMs)
  }

  #dispatch (event: Event): void {
    this.#run(this.#machine.on(event, this.#env.now()))
  }

  /** The machine knows its new state already: a callback that calls us meets it. */
  #run (effects: readonly Effect[]): void {
    this.#arm()
    for (const effect of effects) this.#do(effect)
  }

  #do (effect: Effect): void {
    const { attempt } = this.#machine
    switch (effect.type) {
      case 'locate': this.#locate(attempt); break
      case 'open': this.#open(attempt); break
      case 'probe': this.#env.probe(this.#url!, this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS).then((refusal) => this.#dispatch({ type: 'probed', attempt, refusal })); break
      case 'ask': this.#push(JSON.stringify({ type: HEARTBEAT })); break
      case 'abandon': this.#abandon(); break
      case 'status': this.#call(() => this.#options.onStatus?.(effect.status, effect.detail)); break
      case 'end': this.#finish(effect.status, effect.detail)
    }
  }

  /** One timer. It may ring early, because what is heard only moves the deadline. */
  #arm (): void {
    const { deadline } = this.#machine
    if (this.#timer !== null) {
      if (deadline !== null && this.#timer.due <= deadline) return
      this.#env.clearTimer(this.#timer.handle)
      this.#timer = null
    }
    if (deadline === null) return
    const ring = (): void => {
      this.#timer = null
      this.#dispatch({ type: 'time' })
    }
    this.#timer = { handle: this.#env.setTimer(ring, Math.max(0, Math.ceil(deadline - this.#env.now()))), due: deadline }
  }

  async #locate (attempt: number): Promise<void> {
    const { protocols } = this.#options
    try {
      const url = typeof this.#address === 'string' ? this.#address : await this.#address()
      const offered = typeof protocols === 'function' ? await protocols() : protocols
      if (attempt !== this.#machine.attempt) return
      this.#url = socketUrl(url)
      this.#protocols = offered
      this.#dispatch({ type: 'located', attempt })
    } catch (err) {
      this.#report(err)
      this.#dispatch({ type: 'lost', attempt, code: 1006, reason: 'there is no address' })
    }
  }

  #open (attempt: number): void {
    try {
      const socket = openSocket(this.#WebSocket, this.#target(), this.#protocols, {
        opened: () => this.#dispatch({ type: 'opened', attempt }),
        heard: (text) => { if (socket === this.#socket) this.#hear(attempt, text) },
        lost: (code, reason, refusal) => this.#dispatch({ type: 'lost', attempt, code, reason, ...(refusal && { refusal }) })
      })
      this.#socket = socket
    } catch (err) {
      this.#report(err)
      this.#dispatch({ type: 'lost', attempt, code: 1006, reason: 'there is no WebSocket' })
    }
  }

  #target (): string {
    const url = new URL(this.#url!)
    url.searchParams.set('heartbeat', '1')
    if (this.#clientId !== null) url.searchParams.set('clientId', this.#clientId)
    if (this.#offset !== null) url.searchParams.set('offset', this.#offset)
    return url.href
  }

  #abandon (): void {
    const socket = this.#socket
    this.#socket = null
    try {
      socket?.close(1000)
    } catch {
      // It was over already.
    }
    // Nothing was sent before the first connection.
    if (this.#waiting === null) this.#pending.failAll(new ClientError('NOT_CONNECTED', 'the connection broke before the answer came'))
  }

  #finish (status: Status, { reason }: StatusDetail): void {
    this.#unlisten()
    this.#waiting = null
    const gone = new ClientError('NOT_CONNECTED', `there will be no connection: ${reason === undefined || reason === '' ? status : reason}`)
    this.#pending.failAll(gone)
    this.#settle.reject(gone)
  }

  #hear (attempt: number, text: string): void {
    this.#dispatch({ type: 'heard', attempt })
    const frame = parse(text)
    // Another kind of server may say so too, and means something else.
    if (frame === null || (frame.type === 'connected' && typeof frame.data?.clientId !== 'string')) return
    const { type = '', data, offset, replyTo, error } = frame
    if (type === 'connected') this.#begin(attempt, data)
    else if (offset !== undefined) this.#offset = offset
    if (type === HEARTBEAT || (type === 'offset' && offset !== undefined)) return
    if (replyTo !== undefined) return this.#pending.settle(String(replyTo), data, error)
    this.#handlers.emit(type, frame)
  }

  #begin (attempt: number, data: Welcome): void {
    this.#clientId = data.clientId
    // What was missed follows with offsets of its own; a connection that breaks before it came resumes from where we were.
    if (!data.recovered) this.#offset = data.offset
    const waiting = this.#waiting ?? []
    this.#waiting = null
    for (const { json, id } of waiting) if (id === undefined || this.#pending.has(id)) this.#push(json)
    this.#settle.resolve(data)
    this.#dispatch({ type: 'welcomed', attempt, liveness: data.heartbeat ?? null, windowMs: data.reconnectWindowMs ?? 0 })
  }

  #write (frame: Frame): boolean {
    const json = toJson(frame)
    if (this.status === 'connected') return this.#push(json)
    if (this.#waiting === null || this.#waiting.length >= (this.#options.maxWaiting ?? 32)) return false
    this.#waiting.push({ json, ...(frame.id !== undefined && { id: String(frame.id) }) })
    return true
  }

  #push (json: string): boolean {
    if (this.#socket?.readyState !== OPEN) return false
    this.#socket.send(json)
    return true
  }

  async #call (callback: () => unknown): Promise<void> {
    try {
      await callback()
    } catch (err) {
      this.#report(err)
    }
  }

  #report (err: unknown): void {
    const { onError } = this.#options
    try {
      if (onError !== undefined) return onError(err)
    } catch (thrown) {
      err = thrown
    }
    setTimeout(() => { throw err })
  }
}

/**
 * Connects to a namespace.
 *
 * @param url absolute, or in a page relative to it: `/api/1/ws/chat`. A function, which may be async, is asked at each attempt:
 * for a token that is renewed, for instance; who is refused then tries once more before it is `auth-required`.
 */
export function connect<M extends Messages = Messages, S extends Messages = Messages> (url: Address, options: ClientOptions = {}): Client<M, S> {
  return new Client<M, S>(url, options)
}
