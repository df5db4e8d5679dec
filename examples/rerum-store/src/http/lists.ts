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
  if (profile === undefined) return sendRead(request, reply, { parts: arrayOf(entries), etag: joinedEtag('array', etags), modified, outcome, type: listTypeOf(accept) })
  const etag = joinedEtag([profile, url, next].join(' '), etags)
  return sendRead(request, reply, { parts: pageOf(profile, list), etag, modified, outcome, type: `application/ld+json; charset=utf-8; profile="${PROFILES[profile]}"` })
}

const arrayOf = (entries: readonly Entry[]): string[] => ['[', ...entries.map(({ json }, n) => n === 0 ? json : `,${json}`), ']']

/**
 * Web Annotation Data Model, section 5.2, and IIIF Presentation 3, section 5.5. Its items are annotations: objects of other
 * types are left out. A context stands once, at the top.
 */
function pageOf (profile: Profile, { entries, url, next }: List): string[] {
  const head = JSON.stringify({ '@context': PROFILES[profile], id: url, type: 'AnnotationPage', ...(next !== undefined && { next }) })
  const items = entries.flatMap((entry) => entry.annotation === undefined ? [] : [itemOf(entry, entry.annotation.context)])
  return [`${head.slice(0, -1)},"items":[`, ...items.map((item, n) => n === 0 ? item : `,${item}`), ']}']
}

function itemOf ({ json }: Entry, context: number): string {
  if (context > 0) return `{${json.slice(1 + context)}`
  const { '@context': _context, '@id': id, ...rest } = JSON.parse(json) as Record<string, unknown>
  return JSON.stringify({ id, ...rest })
}
