import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Living, Tombstone } from '../store/document.ts'
import { shown } from '../store/identity.ts'
import type { Outcome } from '../store/reads.ts'

interface Text { body: string, etag: string }

/** What the cache returns is the same frozen value at each hit, so its text is made once. */
const texts = new WeakMap<object, Text>()

/** Answers a read. A client may keep it, and must ask each time whether it is still the answer: a `max-age` would be staleness out of the cache's reach. */
export function answer (request: FastifyRequest, reply: FastifyReply, value: object, outcome: Outcome): FastifyReply {
  const { body, etag } = textOf(value)
  reply.header('X-Cache', outcome).header('ETag', etag).header('Cache-Control', 'no-cache')
  if (isKnown(request, etag)) return reply.code(304).send()
  if (!reply.hasHeader('content-type')) reply.type(JSON_TYPE)
  return reply.send(body)
}

const JSON_TYPE = 'application/json; charset=utf-8'
const LD_TYPE = 'application/ld+json; charset=utf-8'

/** Headers of a single object. One without a context of its own is given one, as JSON-LD has it (JSON-LD 1.1, section 6.1). */
export function describe (reply: FastifyReply, object: Living | Tombstone, contextUrl: string): FastifyReply {
  reply.header('Location', object['@id'])
  if ('@context' in object) reply.type(LD_TYPE)
  else reply.header('Link', `<${contextUrl}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"`)
  if (isLiving(object)) reply.header('Current-Overwritten-Version', object.__rerum.isOverwritten)
  return reply
}

/** Answers a write with an object as it is now. */
export function answerWrite (reply: FastifyReply, object: Living, contextUrl: string): FastifyReply {
  const { body, etag } = textOf(object)
  describe(reply, object, contextUrl).header('ETag', etag).header('Cache-Control', 'no-cache')
  if (!reply.hasHeader('content-type')) reply.type(JSON_TYPE)
  return reply.send(body)
}

function textOf (value: object): Text {
  const known = texts.get(value)
  if (known !== undefined) return known
  const body = JSON.stringify(Array.isArray(value) ? value.map(shown) : shown(value as Living))
  const text = { body, etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"` }
  if (Object.isFrozen(value)) texts.set(value, text)
  return text
}

const isKnown = ({ method, headers }: FastifyRequest, etag: string): boolean =>
  (method === 'GET' || method === 'HEAD') && names(headers['if-none-match'] ?? '', etag)

/** Whether an object is one that `If-Match` names; a weak tag of the same content is that of a proxy which compressed it. */
export function isMatched (header: string | undefined, object: object): boolean {
  return header === undefined || names(header, textOf(object).etag)
}

const names = (header: string, etag: string): boolean => header.split(',').some((one) => [etag, `W/${etag}`, '*'].includes(one.trim()))

const isLiving = (object: Living | Tombstone): object is Living => '__rerum' in object
