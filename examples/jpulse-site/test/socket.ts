import { WebSocket } from 'ws'
import type { Scope } from '../../../test/helpers/index.ts'

interface Message { type: string, data?: any, replyTo?: number, offset?: string }

/** A client of a namespace that comes back with its offset, as packages/ws-namespaces/docs/protocol.md says. */
export class LiveSocket {
  readonly #url: string
  readonly #headers: Record<string, string>
  readonly messages: Message[] = []
  readonly closes: number[] = []
  /** What each further first frame said about what was missed. */
  readonly recoveries: boolean[] = []
  #socket: WebSocket | undefined
  #offset: string | null = null
  #clientId: string | null = null
  #stopped = false

  constructor (t: Scope, address: string, namespace: string, cookie: string) {
    this.#url = `${address.replace('http', 'ws')}/api/1/ws/${namespace}`
    this.#headers = { cookie }
    t.teardown(() => this.stop())
    this.#open()
  }

  get isOpen (): boolean {
    return this.#clientId !== null && this.#socket?.readyState === WebSocket.OPEN
  }

  /** The data of the messages of a type. */
  of (type: string): any[] {
    return this.messages.filter((message) => message.type === type).map(({ data }) => data)
  }

  send (message: object): void {
    this.#socket!.send(JSON.stringify(message))
  }

  stop (): void {
    this.#stopped = true
    this.#socket?.terminate()
  }

  /** Comes back after `stop`. */
  resume (): void {
    this.#stopped = false
    this.#open()
  }

  #open (): void {
    const url = new URL(this.#url)
    if (this.#offset !== null) url.searchParams.set('offset', this.#offset)
    if (this.#clientId !== null) url.searchParams.set('clientId', this.#clientId)
    const socket = this.#socket = new WebSocket(url, { headers: this.#headers })
    socket.on('message', (text) => this.#receive(JSON.parse(String(text))))
    socket.on('error', () => {})
    // A refused upgrade is closed without a code.
    socket.on('close', (code) => {
      this.closes.push(code)
      if (!this.#stopped && code !== 4401) setTimeout(() => { if (!this.#stopped) this.#open() }, 50 + Math.random() * 200)
    })
  }

  #receive (message: Message): void {
    if (message.type === 'connected') {
      if (this.#clientId !== null) this.recoveries.push(message.data.recovered)
      this.#clientId = message.data.clientId
      this.#offset = message.data.offset
      return
    }
    if (message.offset !== undefined) this.#offset = message.offset
    if (message.type !== 'offset') this.messages.push(message)
  }
}
