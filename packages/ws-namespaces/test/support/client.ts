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

/** A client that knows the protocol and nothing more: what it got, in order. */
export class Client {
  readonly ws: WebSocket
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

  constructor (url: string, headers: Record<string, string>) {
    this.ws = new WebSocket(url, { headers, perMessageDeflate: false, maxPayload: 0 })
    this.ws.on('error', () => {})
    this.ws.on('message', (data) => this.#receive(JSON.parse(String(data)) as Message))
    this.ws.on('close', (code, reason) => { this.closed = { code, reason: String(reason) } })
    this.ws.on('unexpected-response', (_request, response) => {
      let text = ''
      response.on('data', (chunk) => { text += String(chunk) })
      response.on('close', () => {
        this.refused = { status: response.statusCode ?? 0, body: text === '' ? null : JSON.parse(text) }
        this.ws.terminate()
      })
    })
  }

  send (message: unknown): void {
    this.ws.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message))
  }

  /** Sends with an id and waits for the answer. */
  async request (message: object): Promise<Message> {
    const id = `r${++this.#lastId}`
    this.send({ ...message, id })
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

  #receive (message: Message): void {
    if (message.offset !== undefined) this.offset = message.offset
    if (message.type === 'connected') {
      this.connected = message.data
      this.offset = message.data.offset
    } else if (message.type !== 'offset') this.messages.push(message)
  }
}

/** Begins a connection; resolves when it stands or was refused. */
export async function connect (t: Scope, port: number, path: string, { user, headers = {}, offset, clientId }: ConnectOptions = {}): Promise<Client> {
  const query = new URLSearchParams({ ...(offset == null ? {} : { offset }), ...(clientId === undefined ? {} : { clientId }) })
  const client = new Client(`ws://127.0.0.1:${port}${path}${query.size === 0 ? '' : `?${query}`}`, { ...(user === undefined ? {} : { user: encodeURIComponent(user) }), ...headers })
  t.teardown(() => client.ws.terminate())
  await waitFor(() => client.connected ?? client.refused ?? client.closed, { what: `a connection to ${path}`, timeoutMs: 60_000 })
  return client
}

/** Comes back where a client was. */
export function resume (t: Scope, port: number, path: string, before: Client, user: string): Promise<Client> {
  return connect(t, port, path, { user, offset: before.offset, clientId: before.connected.clientId })
}
