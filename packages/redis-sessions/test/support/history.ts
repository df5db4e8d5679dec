import { Agent, request, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

/** What went wrong in a history. Each is 0 where sessions are as one process with one memory would have them. */
export interface Verdict {
  operations: number
  /** A read that began after a write, or another read, had been answered had what was before it. */
  stale: number
  /** Nobody was signed in, while nothing had ended the session. */
  signedOut: number
  /** Somebody was signed in after the end had been answered. */
  resurrected: number
  /** Answered with 503: the outcome of a write is unknown then. */
  refused: number
}

interface HistoryOptions {
  /** Share of the requests that do not go to the instance where their session is at home. @default 1 */
  stray?: number
}

interface Answer { status: number, n: number | null, cookie: string | undefined }

const PROBES = 3

/**
 * Histories of sessions over several processes: logins, changes, reads during and after them, new ids, logouts. One writer for
 * each session, whose writes are numbers that grow, so that a read alone says which write it saw.
 */
export class History {
  readonly verdict: Verdict = { operations: 0, stale: 0, signedOut: 0, resurrected: 0, refused: 0 }
  readonly #urls: readonly string[]
  readonly #most: number
  readonly #stray: number
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 })

  constructor (urls: readonly string[], most: number, { stray = 1 }: HistoryOptions = {}) {
    this.#urls = urls
    this.#most = most
    this.#stray = stray
  }

  /** Runs so many histories side by side until the operations are made. */
  async run (parallel: number, isOver: () => boolean = () => false): Promise<Verdict> {
    await Promise.all(Array.from({ length: parallel }, async (_, one) => {
      for (let turn = 0; this.verdict.operations < this.#most && !isOver(); turn++) await this.#session(`${one}-${turn}`)
    }))
    this.#agent.destroy()
    return this.verdict
  }

  async #session (user: string): Promise<void> {
    const home = this.#anyUrl()
    const at = () => Math.random() < this.#stray ? this.#anyUrl() : home
    const login = await this.#send(at(), 'POST', '/login', undefined, { user })
    if (login.status !== 200) return
    let cookie = login.cookie!
    const seen = { least: 0 }
    for (let n = 1; n <= 8; n++) {
      const reading = Array.from({ length: PROBES }, () => this.#read(at(), cookie, seen))
      const written = await this.#send(at(), 'POST', '/write', cookie, { n })
      await Promise.all(reading)
      if (written.status === 200 && written.n === null) this.verdict.signedOut++
      if (written.status === 200) seen.least = n
      await Promise.all(Array.from({ length: PROBES }, () => this.#read(at(), cookie, seen)))
    }
    if (Math.random() < 0.3) {
      const regenerated = await this.#send(at(), 'POST', '/regenerate', cookie)
      if (regenerated.status !== 200) return
      const former = cookie
      cookie = regenerated.cookie!
      await Promise.all([this.#dead(at(), former), this.#read(at(), cookie, seen)])
    }
    const reading = Array.from({ length: PROBES }, () => this.#read(at(), cookie, seen, true))
    const ended = await this.#send(at(), 'POST', Math.random() < 0.5 ? '/logout' : '/logout-all', cookie, { user })
    const dead = ended.status === 200 ? Array.from({ length: PROBES }, () => this.#dead(at(), cookie)) : []
    await Promise.all([...reading, ...dead])
  }

  /** @param mayEnd whether the session is being ended meanwhile */
  async #read (at: string, cookie: string, seen: { least: number }, mayEnd = false): Promise<void> {
    const { least } = seen
    const { status, n } = await this.#send(at, 'GET', '/read', cookie)
    if (status !== 200) return
    if (n === null) {
      if (!mayEnd) this.verdict.signedOut++
    } else if (n < least) this.verdict.stale++
    else seen.least = Math.max(seen.least, n)
  }

  async #dead (at: string, cookie: string): Promise<void> {
    const { status, n } = await this.#send(at, 'GET', '/read', cookie)
    if (status === 200 && n !== null) this.verdict.resurrected++
  }

  #anyUrl (): string {
    return this.#urls[Math.floor(Math.random() * this.#urls.length)]!
  }

  /** Refusals come at once: without a pause they would be most of what the machine does while it is to recover. */
  async #refused (): Promise<void> {
    this.verdict.refused++
    await sleep(20)
  }

  async #send (at: string, method: string, path: string, cookie?: string, body?: object): Promise<Answer> {
    this.verdict.operations++
    const url = at + path
    const text = body === undefined ? undefined : JSON.stringify(body)
    const headers = { ...(cookie === undefined ? {} : { cookie }), ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }) }
    try {
      const sent = request(url, { method, agent: this.#agent, headers })
      sent.end(text)
      const [response] = await once(sent, 'response') as [IncomingMessage]
      let answer = ''
      for await (const chunk of response.setEncoding('utf8')) answer += chunk
      const status = response.statusCode!
      if (status === 503) await this.#refused()
      else if (status !== 200) throw new Error(`${path}: ${status} ${answer}`)
      return { status, n: status === 200 ? (JSON.parse(answer) as { n?: number | null }).n ?? null : null, cookie: response.headers['set-cookie']?.map((one) => one.split(';', 1)[0]!).findLast((one) => !one.endsWith('=')) }
    } catch (err) {
      if (!['ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes((err as NodeJS.ErrnoException).code ?? '')) throw err
      // Of a process that was killed: the outcome is unknown.
      await this.#refused()
      return { status: 0, n: null, cookie: undefined }
    }
  }
}
