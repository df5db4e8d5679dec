import { randomBytes } from 'node:crypto'
import type { InternalBroadcast } from '@jpulse/cluster-broadcast'
import type { FastifyBaseLogger } from 'fastify'
import { FST_ERR_WS_NAMESPACES_NOT_CONNECTED, FST_ERR_WS_NAMESPACES_REQUEST_FAILED, FST_ERR_WS_NAMESPACES_REQUEST_TIMEOUT } from '../errors.ts'

/** What a client answered. */
interface ClientAnswer {
  readonly data?: unknown
  readonly error?: unknown
}

const CHANNEL = 'ws:answers'
const ID = /^([a-z0-9]{1,40})\.[A-Za-z0-9_-]{16}$/

/** What this process asked of clients, wherever they are. */
export class Requests {
  readonly #bus: InternalBroadcast
  readonly #bootId: string
  readonly #log: FastifyBaseLogger
  readonly #pending = new Map<string, (answer: ClientAnswer) => void>()

  constructor (bus: InternalBroadcast, bootId: string, log: FastifyBaseLogger) {
    this.#bus = bus
    this.#bootId = bootId
    this.#log = log
  }

  async open (): Promise<void> {
    await this.#bus.subscribe<{ id: string, answer: ClientAnswer }>(`${CHANNEL}:${this.#bootId}`, ({ data }) => { this.#pending.get(data.id)?.(data.answer) }, { omitSelf: true })
  }

  /**
   * Asks and waits for the first good answer.
   *
   * @param send hands the request to the connections; resolves with how many got it
   * @throws NOT_CONNECTED, REQUEST_TIMEOUT, FST_ERR_WS_NAMESPACES_REQUEST_FAILED
   */
  async ask (send: (id: string) => number | Promise<number>, timeoutMs: number): Promise<unknown> {
    // Not to be guessed: who knows it may answer.
    const id = `${this.#bootId}.${randomBytes(12).toString('base64url')}`
    const asked = new Asked(timeoutMs)
    this.#pending.set(id, (answer) => asked.hear(answer))
    try {
      const count = await Promise.race([send(id), asked.answer.then(() => 1)])
      if (count === 0) throw new FST_ERR_WS_NAMESPACES_NOT_CONNECTED()
      asked.expect(count)
      return await asked.answer
    } finally {
      asked.end()
      this.#pending.delete(id)
    }
  }

  /** A client answered. Returns whether it was to a request of the cluster. */
  answered (id: string, { data, error }: ClientAnswer): boolean {
    const bootId = ID.exec(id)?.[1]
    if (bootId === undefined) return false
    const answer = { ...(data === undefined ? {} : { data }), ...(error === undefined ? {} : { error }) }
    if (bootId === this.#bootId) this.#pending.get(id)?.(answer)
    else {
      this.#bus.publishJson(`${CHANNEL}:${bootId}`, JSON.stringify({ id, answer }), { replay: false })
        .catch((err: unknown) => this.#log.warn({ err }, 'the answer of a client could not be handed on'))
    }
    return true
  }
}

/** One question to all connections of a user: the first good answer counts, and a bad one only where there is no other. */
class Asked {
  readonly answer: Promise<unknown>
  readonly #timer: NodeJS.Timeout
  readonly #errors: unknown[] = []
  #count = Infinity
  #resolve!: (data: unknown) => void
  #reject!: (err: Error) => void

  constructor (timeoutMs: number) {
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.answer.catch(() => {})
    this.#timer = setTimeout(() => this.#reject(new FST_ERR_WS_NAMESPACES_REQUEST_TIMEOUT(timeoutMs)), timeoutMs)
  }

  /** So many connections got the question. */
  expect (count: number): void {
    this.#count = count
    this.#judge()
  }

  hear ({ data, error }: ClientAnswer): void {
    if (error === undefined) return this.#resolve(data)
    this.#errors.push(error)
    this.#judge()
  }

  end (): void {
    clearTimeout(this.#timer)
  }

  #judge (): void {
    if (this.#errors.length < this.#count) return
    const failures = this.#errors.map(failureOf)
    // One that tried says more than one that knows nothing of it.
    this.#reject(failures.find(({ clientCode }) => clientCode !== 'UNKNOWN_TYPE') ?? failures[0]!)
  }
}

function failureOf (error: unknown): Error & { clientCode: unknown } {
  const { message, code } = (typeof error === 'object' && error !== null ? error : { message: error }) as { message?: unknown, code?: unknown }
  return Object.assign(new FST_ERR_WS_NAMESPACES_REQUEST_FAILED(String(message ?? code ?? 'no reason').slice(0, 500)), { clientCode: code })
}
