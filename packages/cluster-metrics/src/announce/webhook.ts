import { createHmac } from 'node:crypto'
import { isPlain } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import { sentenceOf, type HealthStatus } from './events.ts'
import type { Recipient } from './announcer.ts'
import { LONGEST_PAUSE_MS, type Batch } from './slot.ts'

/** Where to tell that instances and checks go down and come up again. */
export interface WebhookOptions {
  /** http or https, without credentials. It is never logged: paths of webhooks are secrets. Undefined or empty, as a variable of the environment may be, is none: the webhook is off, which the log says. */
  url: string | undefined
  /** Headers of each message beside its own, `authorization` for instance; one that is undefined is left out. Their values are never logged. @default {} */
  headers?: Readonly<Record<string, string | undefined>> | undefined
  /** Signs what is sent: `whsec_` and base64, as the Standard Webhooks specification has it, or any text of 16 characters or more. @default undefined: no signature */
  secret?: string | undefined
  /** Which events. @default all */
  events?: readonly HealthStatus[] | undefined
  /** Longest wait for an answer, in milliseconds, 100 to 30000. @default 5000 */
  timeoutMs?: number | undefined
  /** Attempts until an event is given up, 1 to 20; the pauses double, from 2 s to a minute. @default 6 */
  attempts?: number | undefined
}

/** Headers that a message has itself, or that belong to the connection. */
const OWN_HEADERS = new Set(['content-type', 'content-length', 'webhook-id', 'webhook-timestamp', 'webhook-signature', 'host', 'connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'expect', 'te', 'trailer', 'proxy-connection', 'proxy-authorization'])
const MOST_HEADERS = 20

/** Whether these may be headers of a message: what fetch would refuse at the first incident is refused at register. */
export function areHeaders (given: unknown): boolean {
  if (typeof given !== 'object' || given === null || !isPlain(given) || Object.keys(given).length > MOST_HEADERS) return false
  return Object.entries(given).every(([name, value]) => /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) && !OWN_HEADERS.has(name.toLowerCase()) &&
    (value === undefined || (typeof value === 'string' && /^[\t\x20-\x7e\x80-\xff]*$/.test(value))))
}

const DEFAULT_TIMEOUT_MS = 5000
const DEFAULT_ATTEMPTS = 6
const FIRST_PAUSE_MS = 2000
const MOST_EVENTS = 100
/** Answers that a later attempt may change; redirects are not followed, since what is signed is for one address. */
const AGAIN = new Set([408, 425, 429])

/**
 * Sends events by HTTP, signed as standardwebhooks.com says: `webhook-id` (the same at each attempt), `webhook-timestamp` (seconds),
 * and `webhook-signature`, which is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
 */
export class Webhook implements Recipient {
  readonly name = 'webhook'
  readonly timeoutMs: number
  readonly #options: WebhookOptions & { url: string }
  readonly #about: Readonly<Record<string, string | null>>
  readonly #log: FastifyBaseLogger

  /** @param about the application, in each message */
  constructor (options: WebhookOptions & { url: string }, about: Readonly<Record<string, string | null>>, log: FastifyBaseLogger) {
    this.#options = options
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
    this.#about = about
    this.#log = log
  }

  get isPresent (): boolean {
    return true
  }

  async deliver (batch: Batch): Promise<'done' | number> {
    const { events: wanted, attempts = DEFAULT_ATTEMPTS } = this.#options
    const events = batch.events.filter(({ type }) => wanted === undefined || wanted.includes(type))
    if (events.length === 0) return 'done'
    const shown = events.slice(0, MOST_EVENTS)
    const more = events.length - shown.length
    const text = [...shown.map(sentenceOf), ...more > 0 ? [`and ${more} more`] : []].join('\n')
    const outcome = await this.#send(batch.id, JSON.stringify({ id: batch.id, at: new Date(batch.at).toISOString(), ...this.#about, text, events: shown, more }))
    if (outcome === 'sent') return 'done'
    const isLast = !outcome.again || batch.attempts + 1 >= attempts
    // Neither the address nor what the far side said: both may hold secrets.
    this.#log.warn({ problem: outcome.problem, attempt: batch.attempts + 1, events: events.length }, isLast ? 'a webhook was given up' : 'a webhook could not be sent: it is tried again')
    return isLast ? 'done' : Math.min(LONGEST_PAUSE_MS, Math.max(FIRST_PAUSE_MS * 2 ** batch.attempts, outcome.holdMs))
  }

  async #send (id: string, body: string): Promise<'sent' | { again: boolean, problem: string, holdMs: number }> {
    const { url, secret, headers: given = {} } = this.#options
    const timestamp = String(Math.floor(Date.now() / 1000))
    const others = Object.entries(given).filter((entry): entry is [string, string] => entry[1] !== undefined)
    const headers: Record<string, string> = { ...Object.fromEntries(others), 'content-type': 'application/json', 'webhook-id': id, 'webhook-timestamp': timestamp }
    if (secret !== undefined) headers['webhook-signature'] = `v1,${createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.${body}`).digest('base64')}`
    try {
      const response = await fetch(url, { method: 'POST', headers, body, redirect: 'manual', signal: AbortSignal.timeout(this.timeoutMs) })
      await response.body?.cancel()
      return response.ok ? 'sent' : { again: response.status >= 500 || AGAIN.has(response.status), problem: `status ${response.status}`, holdMs: Number(response.headers.get('retry-after')) * 1000 || 0 }
    } catch (err) {
      const { name, cause } = err as { name?: string, cause?: { code?: unknown } }
      return { again: true, problem: name === 'TimeoutError' ? `no answer within ${this.timeoutMs} ms` : String(cause?.code ?? name), holdMs: 0 }
    }
  }
}

function keyOf (secret: string): Buffer {
  return secret.startsWith('whsec_') ? Buffer.from(secret.slice('whsec_'.length), 'base64') : Buffer.from(secret)
}
