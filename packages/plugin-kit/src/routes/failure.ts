import type { FastifyReply, FastifyRequest } from 'fastify'
import { textOf } from '../calls.ts'

/** What a client learns of an error. */
export interface Told {
  readonly statusCode: number
  /** Always the error's own code, or `<plugin>_…` where it has none. */
  readonly code: string
  readonly error: string
  readonly headers: Readonly<Record<string, string>>
}

/** Headers that an error may set, by its property `headers`. */
const HEADERS = ['www-authenticate', 'retry-after', 'upgrade', 'allow']

/** What Node sends as a header: another text would make a fault of the refusal. */
const SENDABLE = /^[\t\x20-\x7e\x80-\xff]*$/

/**
 * What a client is told of anything that was thrown. 4xx: the error's message and code. 5xx: those of the plugin's own errors, and
 * of 503s of the suite's and Fastify's plugins (`FST_ERR_…`), whose texts are made for it; of any other nothing but
 * `<plugin>_INTERNAL`. A 401 always names a scheme; `Retry-After` is the error's `headers['retry-after']` or `retryAfter` in seconds.
 *
 * @param plugin start of the plugin's codes: `FST_ERR_CONFIG_CACHE`
 */
export function tellOf (thrown: unknown, plugin: string): Told {
  const err = (typeof thrown === 'object' && thrown !== null ? thrown : {}) as Record<string, unknown>
  const statusCode = statusOf(err.statusCode)
  // Drivers give numbers: 11000 of MongoDB.
  const code = typeof err.code === 'string' && err.code !== '' ? err.code : null
  const isFor = statusCode < 500 || (code !== null && (code.startsWith(`${plugin}_`) || (statusCode === 503 && code.startsWith('FST_ERR_'))))
  if (!isFor) return { statusCode, code: `${plugin}_INTERNAL`, error: 'Internal Server Error', headers: {} }
  return { statusCode, code: code ?? `${plugin}_${NAMELESS[statusCode] ?? 'REFUSED'}`, error: textOf(err.message ?? ''), headers: headersOf(err, statusCode) }
}

const NAMELESS: Record<number, string> = { 401: 'UNAUTHORIZED', 403: 'FORBIDDEN', 404: 'NOT_FOUND' }

/**
 * Answers an error in the envelope `{ success: false, error, code, statusCode }`. As JSON whatever the route answers otherwise,
 * and whatever serializer the application set. What is not the caller's fault is logged.
 *
 * @param plugin start of the plugin's codes: `FST_ERR_CONFIG_CACHE`
 */
export async function answerFailure (thrown: unknown, request: FastifyRequest, reply: FastifyReply, plugin: string): Promise<void> {
  const { statusCode, code, error, headers } = tellOf(thrown, plugin)
  // Of what is away for a while the log heard already, once.
  if (statusCode >= 500) request.log[statusCode === 503 ? 'debug' : 'error']({ err: thrown }, `a request was not answered: ${code}`)
  await reply.code(statusCode).headers(headers).type('application/json; charset=utf-8').serializer(JSON.stringify).send({ success: false, error, code, statusCode })
}

function statusOf (statusCode: unknown): number {
  return Number.isInteger(statusCode) && Number(statusCode) >= 400 && Number(statusCode) <= 599 ? Number(statusCode) : 500
}

function headersOf ({ headers, retryAfter }: Record<string, unknown>, statusCode: number): Record<string, string> {
  const given = typeof headers === 'object' && headers !== null ? Object.entries(headers) : []
  const known = given.map(([name, value]) => [name.toLowerCase(), String(value)] as const).filter(([name, value]) => HEADERS.includes(name) && SENDABLE.test(value))
  return {
    // A scheme for which no browser opens a window of its own.
    ...(statusCode === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    ...(typeof retryAfter === 'number' && retryAfter >= 0 && retryAfter < Infinity ? { 'retry-after': String(Math.ceil(retryAfter)) } : {}),
    ...Object.fromEntries(known)
  }
}
