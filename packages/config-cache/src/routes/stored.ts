import { createHash, type Hash } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { namesOf, textOf } from './rules.ts'

type Headers = Record<string, string | number | string[] | undefined>

/** A response as it is kept: what the handler made, before the hooks of the application see it, as they see every response. */
export interface Stored {
  readonly statusCode: number
  readonly headers: Readonly<Headers>
  /** Null where there is none; base64 where `isBinary`. */
  readonly body: string | null
  readonly isBinary: boolean
  readonly etag: string | null
  /** What the request had in the headers that the response varies by. */
  readonly vary: Readonly<Record<string, string>>
  /** By the clock that all instances have. */
  readonly at: number
  /** Whether it may answer a request with `Authorization`. */
  readonly isForAll: boolean
}

/** Of one connection or one moment, or made anew for each response. */
const OF_ITS_TIME = new Set(['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authentication-info', 'proxy-authorization', 'proxy-connection', 'te', 'trailer',
  'transfer-encoding', 'upgrade', 'content-length', 'age', 'set-cookie', 'set-cookie2', 'x-cache'])
/** Kept whatever a route names: without them the response is another one. */
const ALWAYS = new Set(['content-type', 'content-encoding', 'location', 'vary', 'date', 'cache-control', 'expires', 'etag', 'last-modified'])

/** What a handler added to or changed in the headers that were there before it ran. */
export function headersOf (before: Headers, after: Headers, only: readonly string[] | null): Headers {
  const ofConnection = namesOf(after.connection)
  return Object.fromEntries(Object.entries(after).filter(([name, value]) =>
    !OF_ITS_TIME.has(name) && !ofConnection.includes(name) && before[name] !== value && (only === null || ALWAYS.has(name) || only.includes(name))))
}

/** By it @jpulse/redis-sessions names, at `reply.raw`, the cookie that a reply only renews. */
const RENEWED = Symbol.for('jpulse.renewed-cookie')

/** The headers of a response as it would be without the cookie of a session that it renews: whether one was due says nothing of the response. */
export function withoutRenewal (reply: FastifyReply): Headers {
  const { 'set-cookie': cookies, ...rest } = reply.getHeaders()
  const name = (reply.raw as { [RENEWED]?: string | null })[RENEWED]
  const others = [cookies ?? []].flat().map(String).filter((cookie) => name == null || !cookie.startsWith(`${name}=`))
  return others.length === 0 ? rest : { ...rest, 'set-cookie': others }
}

/** Strong: equal tags mean equal bytes (RFC 9110, section 8.8.1). */
export const etagOf = (body: string | Buffer): string => tagged(createHash('sha256').update(body))
const tagged = (hash: Hash): string => `"${hash.digest('base64url').slice(0, 27)}"`

/** How much is hashed in one turn of the event loop: a millisecond's work. */
const TURN_BYTES = 2 ** 20

/** As `etagOf`, for a body of any length: 16 MiB at once would hold the event loop for 50 ms. */
export async function etagInTurns (body: string | Buffer): Promise<string> {
  if (body.length * 3 <= TURN_BYTES) return etagOf(body)
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  const hash = createHash('sha256')
  for (let at = 0; at < bytes.length; at += TURN_BYTES) {
    if (at > 0) await turn()
    hash.update(bytes.subarray(at, at + TURN_BYTES))
  }
  return tagged(hash)
}

export const varied = (request: FastifyRequest, names: Iterable<string>): Record<string, string> =>
  Object.fromEntries([...names].sort().map((name) => [name, normalized(String(request.headers[name] ?? ''))]))

/** Without the white space that says nothing: that around commas, unless something is quoted. */
const normalized = (value: string): string => value.includes('"') ? value.trim() : value.trim().replaceAll(/\s*,\s*/g, ',')

/**
 * Adds names to the `Vary` of a response: whatever stands between this cache and the client has to tell requests apart by the same headers
 * (RFC 9110, section 12.5.5). An encoding that the handler chose without a word is taken to be chosen for the client.
 */
export function addVary (reply: FastifyReply, names: readonly string[]): void {
  const present = reply.getHeader('vary')
  const known = namesOf(present)
  if (known.includes('*')) return
  const all = reply.hasHeader('content-encoding') ? [...names, 'Accept-Encoding'] : names
  const missing = all.filter((name) => !known.includes(name.toLowerCase()))
  if (missing.length > 0) reply.header('Vary', [...known.length > 0 ? [textOf(present)] : [], ...new Set(missing)].join(', '))
}

/** Whether the kept response of a route without scope may be shown to who comes with credentials. */
export const isOpenTo = (stored: Stored, request: FastifyRequest): boolean => request.headers.authorization === undefined || stored.isForAll

/** Whether a request has what the kept response was made for. */
export function isFor (stored: Stored, request: FastifyRequest): boolean {
  const mine = varied(request, Object.keys(stored.vary))
  return Object.entries(stored.vary).every(([name, value]) => mine[name] === value)
}

const buffers = new WeakMap<Stored, Buffer>()

export function bodyOf (stored: Stored): string | Buffer | undefined {
  if (stored.body === null) return undefined
  if (!stored.isBinary) return stored.body
  const known = buffers.get(stored) ?? Buffer.from(stored.body, 'base64')
  buffers.set(stored, known)
  return known
}

/** @param now what the clock says that `at` is of */
export function sendStored (stored: Stored, reply: FastifyReply, now: number): FastifyReply {
  reply.code(stored.statusCode).headers(stored.headers).header('Age', String(Math.max(0, Math.floor((now - stored.at) / 1000))))
  return reply.send(bodyOf(stored))
}
