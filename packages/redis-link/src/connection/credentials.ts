import type { Cluster, Redis } from 'ioredis'
import type { PasswordSource, RedisClient } from '../options.ts'
import { backoff, bounded } from './time.ts'

/** Share of its life after which a password is renewed. */
const RENEW_AT = 0.75
/** Longest delay of a timer. */
const LONGEST_MS = 2 ** 31 - 1
/** Limit of the source's answer, in command timeouts. */
const SOURCE_TIMEOUTS = 10
const REFUSED = /^(WRONGPASS|NOAUTH)/

/** What renewed passwords are handed to, and who is told of faults. */
export interface CredentialUser {
  /** All connections that are open, the subscriber's too. */
  connections (): Redis[]
  onFault (err: unknown): void
}

/** A password that its source renews: before its time is over, and when Redis refuses it. */
export class Credentials {
  readonly #source: PasswordSource
  readonly #client: RedisClient
  readonly #username: string | undefined
  readonly #timeoutMs: number
  readonly #user: CredentialUser
  #password: string | undefined
  #timer: NodeJS.Timeout | undefined
  #renewing: Promise<void> | undefined
  #failures = 0
  #refusals = 0
  #stopped = false

  constructor (source: PasswordSource, client: RedisClient, username: string | undefined, timeoutMs: number, user: CredentialUser) {
    this.#source = source
    this.#client = client
    this.#username = username
    this.#timeoutMs = timeoutMs
    this.#user = user
    client.on('+node', (node: Redis) => {
      this.#give(node)
      node.on('ready', this.#onAccepted)
    })
    client.on('ready', this.#onAccepted)
    client.on('error', this.#onError)
    client.on('node error', this.#onError)
  }

  /** The present one, for those who keep it out of the log. */
  get password (): string | undefined {
    return this.#password
  }

  /** Asks the source, and hands the password to every connection, open ones too. Resolves in any case; a fault is told, and tried again. */
  renew (): Promise<void> {
    clearTimeout(this.#timer)
    this.#renewing ??= this.#renew().finally(() => { this.#renewing = undefined })
    return this.#renewing
  }

  stop (): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  async #renew (): Promise<void> {
    try {
      const answer = await this.#ask()
      const { password, expiresInMs } = typeof answer === 'string' ? { password: answer, expiresInMs: undefined } : answer
      if (typeof password !== 'string') throw new TypeError('the option password returned no password')
      // Such as NaN: renewed at once, the source would be asked without a pause.
      const isKnown = expiresInMs === undefined || expiresInMs > 0
      if (isKnown) this.#failures = 0
      else this.#user.onFault(new TypeError('the option password gave an expiresInMs that is not above 0'))
      if (expiresInMs !== undefined) this.#later(isKnown ? expiresInMs * RENEW_AT : backoff(++this.#failures))
      await this.#use(password)
    } catch (err) {
      this.#user.onFault(err)
      this.#later(backoff(++this.#failures))
    }
  }

  /** One that never answers must not keep the next question from being asked, nor the process alive. */
  async #ask (): Promise<Awaited<ReturnType<PasswordSource>>> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error('the option password gave none in time')), SOURCE_TIMEOUTS * this.#timeoutMs).unref()
    })
    try {
      return await Promise.race([this.#source(), late])
    } finally {
      clearTimeout(timer)
    }
  }

  async #use (password: string): Promise<void> {
    const isFirst = this.#password === undefined
    const isOther = this.#password !== password
    this.#password = password
    for (const node of this.#nodes()) this.#give(node)
    if (isFirst) {
      if (this.#client.status === 'wait' && !this.#stopped) this.#client.connect().catch(() => {})
      return
    }
    if (!isOther) return
    await Promise.all(this.#user.connections().map((connection) => bounded(this.#authenticate(connection, password), this.#timeoutMs).catch((err) => {
      // Without it the server ends the connection at some time of its own.
      this.#user.onFault(err)
      connection.disconnect(true)
    })))
  }

  #authenticate (connection: Redis, password: string): Promise<unknown> {
    this.#give(connection)
    return this.#username === undefined ? connection.auth(password) : connection.auth(this.#username, password)
  }

  #nodes (): Redis[] {
    return this.#client.isCluster ? (this.#client as Cluster).nodes('all') : [this.#client as Redis]
  }

  #give (node: Redis): void {
    if (this.#password !== undefined) node.options.password = this.#password
  }

  #later (ms: number): void {
    clearTimeout(this.#timer)
    if (!this.#stopped) this.#timer = setTimeout(() => this.renew(), Math.min(LONGEST_MS, Math.max(10, ms))).unref()
  }

  /** The server took the password: the next refusal is the first of another one. */
  readonly #onAccepted = (): void => {
    this.#refusals = 0
  }

  readonly #onError = (err: unknown): void => {
    if (!REFUSED.test(String((err as Error | null)?.message)) || this.#renewing !== undefined || this.#failures > 0) return
    this.#later(backoff(++this.#refusals))
  }
}
