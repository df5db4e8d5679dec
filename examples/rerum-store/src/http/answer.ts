import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Living } from '../store/document.ts'
import { etagOf, jsonOf, type Entry } from '../store/entry.ts'
import { formOf } from '../store/identity.ts'
import type { Outcome } from '../store/reads.ts'
import { typeOf } from './accept.ts'

/** An answer of this length is sent at once; a longer one is written in parts, and others get their turn between two of them. */
const PART = 128 * 1024

/** Answers with one object. A client may keep it, and must ask each time whether it is still the answer: a `max-age` would be staleness out of the cache's reach. */
export function answerObject (request: FastifyRequest, reply: FastifyReply, entry: Entry, outcome: Outcome, contextUrl: string): FastifyReply {
  describe(reply, entry.uri, entry.form === 'json' ? contextUrl : undefined)
  if (entry.version !== null) reply.header('Current-Overwritten-Version', entry.version)
  return sendRead(request, reply, { texts: entry.texts, bytes: entry.bytes, etag: entry.etag, modified: entry.modified, outcome, type: typeOf(entry.form, request.headers.accept) })
}

interface Answer {
  texts: readonly string[]
  /** Length of the texts in UTF-8. */
  bytes: number
  etag: string
  /** In seconds. */
  modified: number | undefined
  outcome: Outcome
  type: string
}

/** The entity tag of several texts together. */
export const joinedEtag = (what: string, etags: readonly string[]): string => etagOf(`${what}\n${etags.join('\n')}`)

export function sendRead (request: FastifyRequest, reply: FastifyReply, { texts, bytes, etag, modified, outcome, type }: Answer): FastifyReply {
  reply.headers({ 'X-Cache': outcome, ETag: etag, 'Cache-Control': 'no-cache', Vary: 'Accept' })
  // Of many changes in one second the last has a time that is still to come (nextModified in store/make.ts), and none may be said (RFC 9110, section 8.8.2.1).
  if (modified !== undefined) reply.header('Last-Modified', new Date(Math.min(modified * 1000, Date.now())).toUTCString())
  if (isKnown(request, etag)) return reply.code(304).send()
  reply.type(type)
  if (bytes <= PART) return reply.send(texts.join(''))
  return reply.header('Content-Length', bytes).send(Readable.from(request.method === 'HEAD' ? [] : buffers(texts)))
}

async function * buffers (texts: readonly string[]): AsyncGenerator<Buffer> {
  let open: string[] = []
  let characters = 0
  for (const text of texts) {
    open.push(text)
    characters += text.length
    if (characters < PART) continue
    yield Buffer.from(open.join(''))
    ;[open, characters] = [[], 0]
    // A stream asks for as much as it may hold, in one go.
    await setImmediate()
  }
  if (open.length > 0) yield Buffer.from(open.join(''))
}

/** Answers a write with an object as it is now: itself, and once more as `new_obj_state`, where some clients look for it. */
export function answerWrite (reply: FastifyReply, object: Living, contextUrl: string): FastifyReply {
  const { json, etag } = jsonOf(object)
  const form = formOf(object)
  describe(reply, object['@id'], form === 'json' ? contextUrl : undefined)
  reply.headers({ ETag: etag, 'Cache-Control': 'no-cache', 'Current-Overwritten-Version': object.__rerum.isOverwritten })
  return reply.type(typeOf(form, undefined)).send(`${json.slice(0, -1)},"new_obj_state":${json}}`)
}

/** Links of a single object: it is a resource of the Linked Data Platform, and without a context of its own it is given one (JSON-LD 1.1, section 6.1). */
function describe (reply: FastifyReply, uri: string, contextUrl: string | undefined): void {
  const links = ['<http://www.w3.org/ns/ldp#Resource>; rel="type"']
  if (contextUrl !== undefined) links.push(contextLink(contextUrl))
  reply.headers({ Location: uri, Link: links.join(', ') })
}

export const contextLink = (contextUrl: string): string => `<${contextUrl}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"`

const isKnown = ({ method, headers }: FastifyRequest, etag: string): boolean =>
  (method === 'GET' || method === 'HEAD') && names(headers['if-none-match'] ?? '', etag)

/** Whether an object is one that `If-Match` names. */
export function isMatched (header: string | undefined, object: Living): boolean {
  return header === undefined || names(header, jsonOf(object).etag)
}

/** What proxies make of a tag when they compress an answer: `W/"…"` (nginx), `"…-gzip"` (Apache), `"…--gzip"` (Jetty), `"…;gzip"` (others). */
const HANDED_ON = /^(?:W\/)?("[^"]*?)(?:(?:--?|;)(?:gzip|br|zstd|deflate))?"$/

/**
 * The tag of the same content counts, whoever compressed it: a client can name no other one than that which it was handed. As it is it
 * comes first: a tag of ours may end in what looks like a proxy's.
 */
const names = (header: string, etag: string): boolean => header.split(',').map((one) => one.trim())
  .some((one) => one === '*' || one === etag || one === `W/${etag}` || one.replace(HANDED_ON, '$1"') === etag)
