import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Entry } from '../store/entry.ts'
import type { Outcome } from '../store/reads.ts'
import { listTypeOf, pageProfileIn, PROFILES, type Profile } from './accept.ts'
import { contextLink, joinedEtag, sendRead } from './answer.ts'

interface List {
  entries: readonly Entry[]
  outcome: Outcome
  /** Address of the list itself. */
  url: string
  /** Address of the rest; undefined where nothing follows. */
  next?: string | undefined
  /** When it changed last, in seconds. @default when the last of its entries did */
  modified?: number
}

/** Answers with an array of objects or, to a client that asks for one of the two profiles, with an AnnotationPage. */
export function answerList (request: FastifyRequest, reply: FastifyReply, list: List, contextUrl: string): FastifyReply {
  const { entries, outcome, url, next } = list
  const { accept } = request.headers
  const profile = pageProfileIn(accept)
  const links = [contextLink(contextUrl), ...next === undefined ? [] : [`<${next}>; rel="next"`]]
  reply.header('Link', links.join(', '))
  const modified = list.modified ?? (entries.length === 0 ? undefined : entries.reduce((last, one) => Math.max(last, one.modified), 0))
  const etags = entries.map(({ etag }) => etag)
  if (profile === undefined) return sendRead(request, reply, { ...joined('[', entries, ']'), etag: joinedEtag('array', etags), modified, outcome, type: listTypeOf(accept) })
  const etag = joinedEtag([profile, url, next].join(' '), etags)
  return sendRead(request, reply, { ...pageOf(profile, list), etag, modified, outcome, type: `application/ld+json; charset=utf-8; profile="${PROFILES[profile]}"` })
}

/** JSON in several texts. */
type Texts = Pick<Entry, 'texts' | 'bytes'>

function joined (head: string, items: readonly Texts[], end: string): { texts: string[], bytes: number } {
  const texts = [head]
  for (const [n, item] of items.entries()) {
    if (n > 0) texts.push(',')
    // Not spread: a long list is no list of arguments.
    for (const text of item.texts) texts.push(text)
  }
  texts.push(end)
  const commas = Math.max(0, items.length - 1)
  return { texts, bytes: items.reduce((sum, { bytes }) => sum + bytes, Buffer.byteLength(head) + Buffer.byteLength(end) + commas) }
}

/**
 * Web Annotation Data Model, section 5.2, and IIIF Presentation 3, section 5.5. Its items are annotations: objects of other
 * types are left out. A context stands once, at the top.
 */
function pageOf (profile: Profile, { entries, url, next }: List) {
  const head = JSON.stringify({ '@context': PROFILES[profile], id: url, type: 'AnnotationPage', ...(next !== undefined && { next }) })
  const items = entries.flatMap((entry) => entry.annotation === undefined ? [] : [itemOf(entry, entry.annotation.skip)])
  return joined(`${head.slice(0, -1)},"items":[`, items, ']}')
}

const ITEM = '{"id":'

/** The JSON of an annotation with its identity at the beginning. */
function itemOf ({ texts, bytes }: Entry, skip: number): Texts {
  let [left, skipped] = [skip, 0]
  const rest = texts.flatMap((text) => {
    const before = text.slice(0, left)
    left -= before.length
    skipped += Buffer.byteLength(before)
    return before.length === text.length ? [] : [text.slice(before.length)]
  })
  return { texts: [ITEM, ...rest], bytes: bytes - skipped + ITEM.length }
}
