import { Agent, request, type IncomingHttpHeaders } from 'node:http'
import type { Scope } from '../../../test/helpers/index.ts'

export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  text: string
  json: any
  /** On the clock of `performance.now()`. */
  start: number
  end: number
}

export interface Ask {
  method?: string
  path: string
  body?: unknown
  headers?: Record<string, string>
}

/** A keep-alive connection, which one worker has accepted and nobody else will serve. */
export class Pin {
  /** The worker's `X-Worker`. */
  worker = ''
  closed = false
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  readonly #address: string

  private constructor (address: string) {
    this.#address = address
  }

  static async open (address: string, timeoutMs = 5000): Promise<Pin> {
    const pin = new Pin(address)
    try {
      const { headers } = await pin.ask({ path: '/health/live' }, timeoutMs)
      pin.worker = String(headers['x-worker'])
      return pin
    } catch (err) {
      pin.close()
      throw err
    }
  }

  /** Rejects where the connection breaks; the pin is closed then. No request is sent twice. */
  ask ({ method = 'GET', path, body, headers = {} }: Ask, timeoutMs = 60_000): Promise<Answer> {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const all = { ...headers, ...(payload !== undefined && { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(payload)) }) }
    const start = performance.now()
    return new Promise((resolve, reject) => {
      const fail = (err: Error) => { this.close(); reject(err) }
      const sent = request(this.#address + path, { method, agent: this.#agent, headers: all, timeout: timeoutMs }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part) => { text += part }).once('error', fail).once('end', () => {
          const end = performance.now()
          const worker = response.headers['x-worker']
          if (response.headers.connection === 'close' || (this.worker !== '' && worker !== this.worker)) this.close()
          resolve({ status: response.statusCode!, headers: response.headers, text, json: text === '' ? undefined : JSON.parse(text), start, end })
        })
      })
      sent.once('timeout', () => sent.destroy(new Error(`${this.worker} did not answer ${path} within ${timeoutMs} ms`))).once('error', fail)
      sent.end(payload)
    })
  }

  close (): void {
    this.closed = true
    this.#agent.destroy()
  }
}

/**
 * Opens connections until each of so many workers has accepted so many of them. Workers of PM2 share a port, and who gets a
 * connection is not for the client to say; so it opens some, and keeps those it needs.
 */
export async function pinAll (t: Scope, address: string, workers: number, each: number): Promise<Map<string, Pin[]>> {
  const pins = new Map<string, Pin[]>()
  t.teardown(() => { for (const pin of [...pins.values()].flat()) pin.close() })
  const deadline = performance.now() + 60_000
  while (pins.size < workers || [...pins.values()].some(({ length }) => length < each)) {
    if (performance.now() > deadline) throw new Error(`connections to ${pins.size} of ${workers} workers`)
    const pin = await Pin.open(address).catch(() => undefined)
    if (pin === undefined) continue
    const known = pins.get(pin.worker) ?? []
    if (known.length >= each) pin.close()
    else pins.set(pin.worker, [...known, pin])
  }
  return new Map([...pins].sort(([a], [b]) => a < b ? -1 : 1))
}
