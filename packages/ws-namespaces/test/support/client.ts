import { WebSocket } from 'ws'
import { waitFor, type Scope } from '../../../../test/helpers/index.ts'

export interface Message {
  type: string
  data: any
  ctx?: Record<string, unknown>
  id?: string
  replyTo?: string | number
  offset?: string
  roomId?: string
  error?: { code: string, message: string }
}

export interface ConnectOptions {
  user?: string
  headers?: Record<string, string>
  offset?: string | null
  clientId?: string
}

/** One conversation with a namespace: what came, in order. */
abstract class Conversation {
  /** Without `connected` and `offset`. */
  readonly messages: Message[] = []
  connected: Message['data'] | null = null
  /** The last one it got. */
  offset: string | null = null
  /** Code and reason of the close, null while it is open. */
  closed: { code: number, reason: string } | null = null
  /** HTTP status of a refused upgrade, and its body. */
  refused: { status: number, body: any } | null = null
  #lastId = 0

  abstract write (data: string | Buffer): void

  send (message: unknown): void {
    this.write(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message))
  }

  /** Sends a message whose data are bytes. */
  sendBytes (message: object, bytes: Uint8Array): void {
    this.write(Buffer.concat([Buffer.from(`${JSON.stringify(message)}\n`), bytes]))
  }

  /** Sends with an id and waits for the answer. */
  async request (message: object, bytes?: Uint8Array): Promise<Message> {
    const id = `r${++this.#lastId}`
    if (bytes === undefined) this.send({ ...message, id })
    else this.sendBytes({ ...message, id }, bytes)
    return waitFor(() => this.messages.find(({ replyTo }) => replyTo === id), { what: `an answer to ${JSON.stringify(message).slice(0, 200)}`, timeoutMs: 30_000 })
  }

  /** The data of what came of a type, in order. */
  of (type: string): any[] {
    return this.messages.filter((message) => message.type === type).map(({ data }) => data)
  }

  /** Error codes that came, in order. */
  get errors (): string[] {
    return this.messages.flatMap(({ error }) => error?.code ?? [])
  }

  /** Waits until something of a type came so many times. */
  async wait (type: string, count = 1): Promise<any[]> {
    await waitFor(() => this.of(type).length >= count, { what: `${count} of ${type}, got ${this.of(type).length}`, timeoutMs: 60_000 })
      .catch((err: Error) => { throw new Error(`${err.message}; got ${this.of(type).length}, closed ${JSON.stringify(this.closed)}`) })
    return this.of(type)
  }

  async end (): Promise<{ code: number, reason: string }> {
    return waitFor(() => this.closed, { what: 'the connection to end', timeoutMs: 60_000 })
  }

  receive (data: Buffer, isBinary: boolean): void {
    const end = isBinary ? data.indexOf('\n') : data.length
    const message = { ...JSON.parse(String(data.subarray(0, end))), ...(isBinary && { data: Uint8Array.from(data.subarray(end + 1)) }) } as Message
    if (message.offset !== undefined) this.offset = message.offset
    if (message.type === 'connected') {
      this.connected = message.data
      this.offset = message.data.offset
    } else if (message.type !== 'offset') this.messages.push(message)
  }
}

/** A client that knows the protocol and nothing more, on a socket of its own. */
export class Client extends Conversation {
  readonly ws: WebSocket

  constructor (url: string, headers: Record<string, string>) {
    super()
    this.ws = open(url, headers)
    this.ws.on('message', (data, isBinary) => this.receive(data as Buffer, isBinary))
    this.ws.on('close', (code, reason) => { this.closed = { code, reason: String(reason) } })
    onRefused(this.ws, (refused) => { this.refused = refused })
  }

  write (data: string | Buffer): void {
    this.ws.send(data)
  }
}

/** A namespace on a socket of several. */
export class Channel extends Conversation {
  readonly id: number
  number: number | null = null
  readonly #several: Several

  constructor (several: Several, id: number) {
    super()
    this.#several = several
    this.id = id
  }

  write (data: string | Buffer): void {
    const prefix = String(this.number)
    this.#several.ws.send(typeof data === 'string' ? `${prefix}${data}` : Buffer.concat([Buffer.from(prefix), data]))
  }

  leave (): void {
    this.#several.tell({ type: 'close', id: this.id })
  }
}

/** A socket of several namespaces. */
export class Several {
  readonly ws: WebSocket
  /** What the server said about the socket. */
  hello: Message['data'] | null = null
  /** Frames that are no namespace's, but for what is known. */
  readonly control: any[] = []
  /** Frames on channels that the server did not open. */
  readonly strays: string[] = []
  closed: { code: number, reason: string } | null = null
  refused: { status: number, body: any } | null = null
  readonly #byId = new Map<number, Channel>()
  readonly #byNumber = new Map<number, Channel>()
  #lastId = 0

  constructor (url: string, headers: Record<string, string>) {
    this.ws = open(url, headers)
    this.ws.on('message', (data, isBinary) => this.#receive(data as Buffer, isBinary))
    this.ws.on('close', (code, reason) => {
      this.closed = { code, reason: String(reason) }
      for (const channel of this.#byId.values()) channel.closed ??= this.closed
    })
    onRefused(this.ws, (refused) => { this.refused = refused })
  }

  tell (control: object): void {
    this.ws.send(JSON.stringify(control))
  }

  /** Resolves when it is there, or was refused. */
  async open (namespace: string, rest: { offset?: string | null, clientId?: string } = {}): Promise<Channel> {
    const channel = new Channel(this, ++this.#lastId)
    this.#byId.set(channel.id, channel)
    const query = new URLSearchParams(Object.entries(rest).flatMap(([name, value]): Array<[string, string]> => value == null ? [] : [[name, value]]))
    this.tell({ type: 'open', id: channel.id, path: `${namespace}?${query}` })
    await waitFor(() => channel.connected ?? channel.refused ?? channel.closed, { what: `${namespace} to open`, timeoutMs: 60_000 })
    return channel
  }

  #receive (data: Buffer, isBinary: boolean): void {
    const [digits = ''] = /^\d*/.exec(data.toString('latin1', 0, 12)) ?? []
    if (digits !== '') {
      const channel = this.#byNumber.get(Number(digits))
      if (channel === undefined) this.strays.push(String(data))
      else channel.receive(data.subarray(digits.length), isBinary)
      return
    }
    const message = JSON.parse(String(data))
    const channel = this.#byId.get(message.id)
    if (message.type === 'connected') this.hello = message.data
    else if (message.type === 'opened') {
      channel!.number = message.channel
      this.#byNumber.set(message.channel, channel!)
    } else if (message.type === 'closed' && message.error !== undefined) channel!.refused = { status: message.error.statusCode, body: message.error }
    else if (message.type === 'closed' && channel !== undefined) {
      channel.closed = { code: message.code, reason: message.reason }
      if (this.#byNumber.get(channel.number!) === channel) this.#byNumber.delete(channel.number!)
    } else this.control.push(message)
  }
}

function open (url: string, headers: Record<string, string>): WebSocket {
  const ws = new WebSocket(url, { headers, perMessageDeflate: false, maxPayload: 0 })
  ws.on('error', () => {})
  return ws
}

function onRefused (ws: WebSocket, hear: (refused: { status: number, body: any }) => void): void {
  ws.on('unexpected-response', (_request, response) => {
    let text = ''
    response.on('data', (chunk) => { text += String(chunk) })
    response.on('close', () => {
      hear({ status: response.statusCode ?? 0, body: text === '' ? null : JSON.parse(text) })
      ws.terminate()
    })
  })
}

/** Begins a connection; resolves when it stands or was refused. */
export async function connect (t: Scope, port: number, path: string, { user, headers = {}, offset, clientId }: ConnectOptions = {}): Promise<Client> {
  const query = new URLSearchParams({ ...(offset == null ? {} : { offset }), ...(clientId === undefined ? {} : { clientId }) })
  const client = new Client(`ws://127.0.0.1:${port}${path}${query.size === 0 ? '' : `?${query}`}`, { ...(user === undefined ? {} : { user: encodeURIComponent(user) }), ...headers })
  t.teardown(() => client.ws.terminate())
  await waitFor(() => client.connected ?? client.refused ?? client.closed, { what: `a connection to ${path}`, timeoutMs: 60_000 })
  return client
}

/** Opens a socket of several namespaces; resolves when it stands or was refused. */
export async function connectSeveral (t: Scope, port: number, { user, headers = {}, path = '/api/1/ws' }: { user?: string, headers?: Record<string, string>, path?: string } = {}): Promise<Several> {
  const several = new Several(`ws://127.0.0.1:${port}${path}?heartbeat=1`, { ...(user === undefined ? {} : { user: encodeURIComponent(user) }), ...headers })
  t.teardown(() => several.ws.terminate())
  await waitFor(() => several.hello ?? several.refused ?? several.closed, { what: 'a socket of several namespaces', timeoutMs: 60_000 })
  return several
}

/** Comes back where a client was. */
export function resume (t: Scope, port: number, path: string, before: Client, user: string): Promise<Client> {
  return connect(t, port, path, { user, offset: before.offset, clientId: before.connected.clientId })
}

/** Numbers from the first to the last. */
export const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** Everything that a user got over all of its connections. */
export const gotBy = (lives: readonly Client[], type = 'n'): number[] => lives.flatMap((client) => client.of(type) as number[])

/** Waits until a user got so many. */
export async function has (lives: readonly Client[], count: number): Promise<number[]> {
  await waitFor(() => gotBy(lives).length >= count, { what: `${count} messages`, timeoutMs: 60_000 })
    .catch((err: Error) => { throw new Error(`${err.message}: ${gotBy(lives).length}, the last is ${gotBy(lives).at(-1)}`) })
  return gotBy(lives)
}
