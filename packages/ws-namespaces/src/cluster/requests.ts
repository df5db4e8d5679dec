import { randomBytes } from 'node:crypto'
import type { InternalBroadcast, Unsubscribe } from '@jpulse/cluster-broadcast'
import { deadline } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import { FST_ERR_WS_NAMESPACES_NOT_CONNECTED, FST_ERR_WS_NAMESPACES_REQUEST_FAILED, FST_ERR_WS_NAMESPACES_REQUEST_TIMEOUT } from '../errors.ts'

/** What a client answered. */
export interface ClientAnswer {
  readonly data?: unknown
  readonly error?: unknown
}

/** Which connection answered; one of the release before does not say so. */
export interface Answerer {
  readonly clientId: string
  readonly userId: string | null
}

/** One of the answers to a question to many. `error` in place of `data` where the client answered with one. */
export interface Answer<Data = unknown> {
  readonly clientId: string | null
  readonly userId: string | null
  readonly data?: Data
  readonly error?: { readonly code: string | null, readonly message: string }
}

type Hear = (answer: ClientAnswer, from: Answerer | null) => void

const CHANNEL = 'ws:answers'
const ID = /^([a-z0-9]{1,40})\.[A-Za-z0-9_-]{16}$/

/** Requests of this process to clients, on whatever worker they are. */
export class Requests {
  readonly #bus: InternalBroadcast
  readonly #bootId: string
  readonly #log: FastifyBaseLogger
  readonly #pending = new Map<string, Hear>()

  constructor (bus: InternalBroadcast, bootId: string, log: FastifyBaseLogger) {
    this.#bus = bus
    this.#bootId = bootId
    this.#log = log
  }

  /** Hears the answers that reach other processes. */
  open (): Promise<Unsubscribe> {
    return this.#bus.subscribe<{ id: string, answer: ClientAnswer, from?: Answerer }>(`${CHANNEL}:${this.#bootId}`, ({ data: { id, answer, from = null }, bytes }) => {
      this.#pending.get(id)?.(bytes === undefined ? answer : { data: bytes }, from)
    }, { omitSelf: true })
  }

  /**
   * Asks and waits for the first good answer.
   *
   * @param send hands the request to the connections; resolves with how many got it
   * @throws NOT_CONNECTED, REQUEST_TIMEOUT, FST_ERR_WS_NAMESPACES_REQUEST_FAILED
   */
  async ask (send: (id: string) => number | Promise<number>, timeoutMs: number): Promise<unknown> {
    const asked = new FirstAnswer(timeoutMs)
    const id = this.#begin((answer, from) => asked.hear(answer, from))
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

  /**
   * Asks and yields each answer as it comes, until all that got the question have answered, or the time is over.
   *
   * @param send as above
   */
  async * each (send: (id: string) => Promise<number>, timeoutMs: number): AsyncGenerator<Answer, void, undefined> {
    const stream = new AnswerStream()
    const id = this.#begin((answer, from) => stream.hear(answer, from))
    // An iteration that the application neither ends nor goes on with holds nothing after that.
    const stop = deadline(timeoutMs, () => {
      stream.end()
      this.#pending.delete(id)
    })
    try {
      send(id).then((count) => stream.expect(count), (err: unknown) => stream.fail(err))
      for (let answer = await stream.next(); answer !== null; answer = await stream.next()) yield answer
    } finally {
      stop()
      this.#pending.delete(id)
    }
  }

  /** A client answered. Returns whether it was to a request of the cluster. */
  answered (id: string, { data, error }: ClientAnswer, { clientId, userId }: Answerer): boolean {
    const bootId = ID.exec(id)?.[1]
    if (bootId === undefined) return false
    const bytes = data instanceof Uint8Array ? data : undefined
    const answer = { ...(data === undefined ? {} : { data }), ...(error === undefined ? {} : { error }) }
    const from = { clientId, userId }
    if (bootId === this.#bootId) this.#pending.get(id)?.(answer, from)
    else {
      this.#bus.publishJson(`${CHANNEL}:${bootId}`, JSON.stringify({ id, answer: bytes === undefined ? answer : {}, from }), { replay: false, bytes })
        .catch((err: unknown) => this.#log.warn({ err }, 'the answer of a client could not be handed on'))
    }
    return true
  }

  #begin (hear: Hear): string {
    // Unguessable: a client that knows the id may answer.
    const id = `${this.#bootId}.${randomBytes(12).toString('base64url')}`
    this.#pending.set(id, hear)
    return id
  }
}

/** Who has answered a request: a client that answers twice must not count for another. */
class Answerers {
  readonly #heard = new Set<string>()

  /** Whether this is its first answer. One of the release before does not say whose it is. */
  add (from: Answerer | null): boolean {
    if (from === null) return true
    const who = JSON.stringify([from.userId, from.clientId])
    if (this.#heard.has(who)) return false
    this.#heard.add(who)
    return true
  }
}

/** The answers to a request to many connections, in the order in which they arrive. */
class AnswerStream {
  readonly #answerers = new Answerers()
  readonly #answers: Answer[] = []
  #heard = 0
  #count = Infinity
  #failure: { err: unknown } | null = null
  #isOver = false
  #wake: () => void = () => {}

  expect (count: number): void {
    this.#count = count
    this.#wake()
  }

  hear ({ data, error }: ClientAnswer, from: Answerer | null): void {
    if (!this.#answerers.add(from)) return
    this.#heard++
    const who = { clientId: from?.clientId ?? null, userId: from?.userId ?? null }
    this.#answers.push(error === undefined ? { ...who, data } : { ...who, error: reasonOf(error) })
    this.#wake()
  }

  fail (err: unknown): void {
    this.#failure = { err }
    this.#wake()
  }

  end (): void {
    this.#isOver = true
    this.#wake()
  }

  /** Null where there will be no more. */
  async next (): Promise<Answer | null> {
    for (;;) {
      const answer = this.#answers.shift()
      if (answer !== undefined) return answer
      if (this.#failure !== null) throw this.#failure.err
      if (this.#isOver || this.#heard >= this.#count) return null
      await new Promise<void>((resolve) => { this.#wake = resolve })
    }
  }
}

/** A request to all connections of a user: resolves with the first answer without an error, rejects when all have answered with one. */
class FirstAnswer {
  readonly answer: Promise<unknown>
  readonly #stop: () => void
  readonly #answerers = new Answerers()
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
    this.#stop = deadline(timeoutMs, () => this.#reject(new FST_ERR_WS_NAMESPACES_REQUEST_TIMEOUT(timeoutMs)))
  }

  /** So many connections got the question. */
  expect (count: number): void {
    this.#count = count
    this.#rejectWhenAllFailed()
  }

  hear ({ data, error }: ClientAnswer, from: Answerer | null): void {
    if (!this.#answerers.add(from)) return
    if (error === undefined) return this.#resolve(data)
    this.#errors.push(error)
    this.#rejectWhenAllFailed()
  }

  end (): void {
    this.#stop()
  }

  #rejectWhenAllFailed (): void {
    if (this.#errors.length < this.#count) return
    const failures = this.#errors.map(failureOf)
    // The error of a handler says more than that a connection has none.
    this.#reject(failures.find(({ clientCode }) => clientCode !== 'UNKNOWN_TYPE') ?? failures[0]!)
  }
}

function failureOf (error: unknown): Error & { clientCode: unknown } {
  const { message, code } = reasonOf(error)
  return Object.assign(new FST_ERR_WS_NAMESPACES_REQUEST_FAILED(message), { clientCode: code ?? undefined })
}

function reasonOf (error: unknown): { code: string | null, message: string } {
  const { message, code } = (typeof error === 'object' && error !== null ? error : { message: error }) as { message?: unknown, code?: unknown }
  return { code: typeof code === 'string' ? code : null, message: String(message ?? code ?? 'no reason').slice(0, 500) }
}
