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
   * Asks and waits for the first answer.
   *
   * @param send hands the request to the connections; resolves with how many got it
   * @throws NOT_CONNECTED, REQUEST_TIMEOUT, FST_ERR_WS_NAMESPACES_REQUEST_FAILED
   */
  async ask (send: (id: string) => number | Promise<number>, timeoutMs: number): Promise<unknown> {
    // Not to be guessed: who knows it may answer.
    const id = `${this.#bootId}.${randomBytes(12).toString('base64url')}`
    let timer: NodeJS.Timeout | undefined
    const answered = new Promise<ClientAnswer>((resolve, reject) => {
      this.#pending.set(id, resolve)
      timer = setTimeout(() => reject(new FST_ERR_WS_NAMESPACES_REQUEST_TIMEOUT(timeoutMs)), timeoutMs)
    })
    answered.catch(() => {})
    try {
      if (await Promise.race([send(id), answered.then(() => 1)]) === 0) throw new FST_ERR_WS_NAMESPACES_NOT_CONNECTED()
      return valueOf(await answered)
    } finally {
      clearTimeout(timer)
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

function valueOf ({ data, error }: ClientAnswer): unknown {
  if (error === undefined) return data
  const { message, code } = (typeof error === 'object' && error !== null ? error : { message: error }) as { message?: unknown, code?: unknown }
  throw Object.assign(new FST_ERR_WS_NAMESPACES_REQUEST_FAILED(String(message ?? code ?? 'no reason').slice(0, 500)), { clientCode: code })
}
