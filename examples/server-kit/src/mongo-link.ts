import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import { type MongoClient, MongoError, type TopologyDescriptionChangedEvent } from 'mongodb'
import { DocumentsUnavailableError } from './errors.ts'

export type MongoState = 'connecting' | 'up' | 'down'

const RETRY_MS = 1000
const PING_TIMEOUT_MS = 1000
/** By then it has been asked again. Also for who is answered by a plugin's route. */
const RETRY_AFTER = { 'retry-after': '2' }

/** Errors of the driver that mean "MongoDB does not answer", as opposed to "MongoDB refuses this command". */
const UNREACHABLE: ReadonlySet<string> = new Set([
  'MongoNetworkError', 'MongoNetworkTimeoutError', 'MongoServerSelectionError', 'MongoOperationTimeoutError',
  'MongoPoolClearedError', 'MongoPoolClosedError', 'MongoNotConnectedError', 'MongoTopologyClosedError',
  'MongoClientClosedError', 'MongoWaitQueueTimeoutError', 'PoolClearedError', 'PoolClearedOnNetworkError'
])

/** A write to a connection that has just broken is rejected with the socket's own error, which the driver passes on as it is. */
function isUnreachable (err: unknown): boolean {
  if (err instanceof MongoError) return UNREACHABLE.has(err.name)
  return err instanceof Error && (err as NodeJS.ErrnoException).syscall !== undefined
}

/**
 * Knows whether MongoDB answers, so that a request which needs it fails at once while it is away instead of waiting for
 * the driver's server selection, and goes through again as soon as it is back.
 */
export class MongoLink {
  readonly #client: MongoClient
  readonly #log: FastifyBaseLogger
  readonly #closing = new AbortController()
  readonly #listeners = new Set<() => void>()
  #state: MongoState = 'connecting'
  #connected = false
  #firstAttempt: Promise<void> = Promise.resolve()

  constructor (client: MongoClient, log: FastifyBaseLogger) {
    this.#client = client
    this.#log = log
  }

  get state (): MongoState {
    return this.#state
  }

  /** Calls a function each time that MongoDB answers again, and for the first time. Returns one that ends it. */
  onUp (listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /** Connects in the background. */
  open (): void {
    this.#client.on('topologyDescriptionChanged', ({ newDescription }: TopologyDescriptionChangedEvent) => {
      // Until the first connection the attempts themselves say how it went: a server that refuses our password is there,
      // yet of no use. Afterwards the driver's monitor says.
      if (this.#connected) this.#turn([...newDescription.servers.values()].some((server) => server.type !== 'Unknown') ? 'up' : 'down')
    })
    this.#firstAttempt = this.#attempt()
    this.#firstAttempt.then(() => this.#retry()).catch((err: unknown) => this.#log.error({ err }, 'the reconnection ended'))
  }

  /**
   * Runs a function that talks to MongoDB.
   * @throws {DocumentsUnavailableError} when MongoDB does not answer; other errors of the function pass through
   */
  async use<T> (fn: () => Promise<T>): Promise<T> {
    if (this.#state === 'connecting') await this.#firstAttempt
    if (this.#state === 'down') throw Object.assign(new DocumentsUnavailableError(), { headers: RETRY_AFTER })
    try {
      return await fn()
    } catch (err) {
      if (!isUnreachable(err)) throw err
      this.#log.warn({ err }, 'MongoDB did not answer')
      throw Object.assign(new DocumentsUnavailableError(), { headers: RETRY_AFTER, cause: err })
    }
  }

  /** Whether MongoDB answers right now. */
  ping (): Promise<boolean> {
    const answered = this.use(() => this.#client.db('admin').command({ ping: 1 })).then(() => true, () => false)
    return Promise.race([answered, sleep(PING_TIMEOUT_MS, false, { ref: false })])
  }

  async close (): Promise<void> {
    this.#closing.abort()
    await this.#client.close()
  }

  async #attempt (): Promise<void> {
    try {
      await this.#client.connect()
      this.#connected = true
      this.#turn('up')
    } catch (err) {
      this.#turn('down', err)
    }
  }

  /** A failed connect() leaves the client without monitors, so until the first success the attempts go on here. */
  async #retry (): Promise<void> {
    const { signal } = this.#closing
    while (!this.#connected && !signal.aborted) {
      await sleep(RETRY_MS, undefined, { ref: false, signal }).catch(() => {})
      if (!signal.aborted) await this.#attempt()
    }
  }

  #turn (state: MongoState, err?: unknown): void {
    if (state === this.#state || this.#closing.signal.aborted) return
    this.#state = state
    if (state === 'up') {
      this.#log.info('MongoDB is up')
      for (const listener of this.#listeners) listener()
    } else this.#log.error({ err }, 'MongoDB is down; trying again in the background')
  }
}
