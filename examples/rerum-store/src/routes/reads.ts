import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { FST_ERR_RERUM_INVALID_PAGE, FST_ERR_RERUM_NOT_FOUND } from '../errors.ts'
import { answerObject } from '../http/answer.ts'
import { sendError } from '../http/errors.ts'
import { answerList } from '../http/lists.ts'
import { textOf } from '../http/utf8.ts'
import { isName } from '../store/document.ts'
import { etagOf } from '../store/entry.ts'
import { readFilter } from '../store/filter.ts'
import type { EntryPage, PageRequest } from '../store/pages.ts'
import type { Outcome, Versions } from '../store/reads.ts'
import { readSearch } from '../store/search.ts'
import type { Store } from '../store/store.ts'
import { DEFAULT_LIMIT, failures, JsonObject, linked, MAX_LIMIT, MAX_SKIP, Named, Objects, Paged } from './schemas.ts'

/** Requests without a token: bodies this small are read and checked within a few milliseconds. */
const QUERY_LIMIT = 64 * 1024
const SEARCH_LIMIT = 4 * 1024
const MAXIMA = { 'Pagination-Limit-Max': MAX_LIMIT, 'Pagination-Skip-Max': MAX_SKIP }
const TAGS = ['read']
/** An array or, by negotiation, an AnnotationPage. */
const Listed = Type.Union([Objects, JsonObject])

const reads: FastifyPluginAsyncTypebox<{ store: Store }> = async (app, { store }) => {
  const { contextUrl, publicUrl } = store

  app.get('/id/:id', { schema: { tags: TAGS, summary: 'An object by its id or slug', params: Named, response: { 200: linked(JsonObject), ...failures } } }, async (request, reply) => {
    const reads = store.reads()
    return answerObject(request, reply, await reads.object(known(request.params.id)), reads.outcome, contextUrl)
  })

  const versions = (request: FastifyRequest, reply: FastifyReply, { of, entries }: Versions, outcome: Outcome) => {
    // What leaves a list changes its neighbours, or the object that was asked for.
    const modified = entries.reduce((last, one) => Math.max(last, one.modified), of.modified)
    return answerList(request, reply, { entries, outcome, url: publicUrl + request.url, modified }, contextUrl)
  }
  const several = { params: Named, response: { 200: linked(Listed), ...failures } }

  app.get('/history/:id', { schema: { tags: TAGS, summary: 'What an object was made from, nearest first', ...several } }, async (request, reply) => {
    const reads = store.reads()
    return versions(request, reply, await reads.history(known(request.params.id)), reads.outcome)
  })

  app.get('/since/:id', { schema: { tags: TAGS, summary: 'What was made from an object, each before what was made from that', ...several } }, async (request, reply) => {
    const reads = store.reads()
    return versions(request, reply, await reads.since(known(request.params.id)), reads.outcome)
  })

  const page = (request: FastifyRequest & { query: Static<typeof Paged> }, reply: FastifyReply, text: string, { page, asked, outcome }: { page: EntryPage, asked: PageRequest, outcome: Outcome }) => {
    const path = request.url.split('?', 1)[0]!
    // A page that was cut short was one of that limit.
    const limit = page.more && page.entries.length < asked.limit ? page.entries.length : asked.limit
    reply.headers({ ...MAXIMA, 'Pagination-Limit': limit, 'Pagination-Skip': asked.skip })
    const skip = asked.skip + page.entries.length
    // Beyond the most that can be skipped a cursor goes on alone. A search has none, and says so there with 400.
    const after = new URLSearchParams({ limit: String(asked.limit), ...(page.cursor === null ? { skip: String(skip) } : { ...(skip <= MAX_SKIP && { skip: String(skip) }), cursor: page.cursor }) })
    const here = new URLSearchParams({ limit: String(asked.limit), skip: String(asked.skip), ...(asked.cursor !== undefined && { cursor: asked.cursor }) })
    // The body is not in the address, and belongs to what a page is.
    const url = `${publicUrl}${path}?${here.toString()}#${etagOf(text).slice(1, -1)}`
    return answerList(request, reply, { entries: page.entries, outcome, url, next: page.more ? `${publicUrl}${path}?${after.toString()}` : undefined }, contextUrl)
  }
  const paged = { bodyLimit: QUERY_LIMIT, preValidation: readsExactly, errorHandler: withMaxima }
  const list = { tags: TAGS, querystring: Paged, response: { 200: linked(Listed), ...failures } }

  const query = async (request: FastifyRequest<{ Querystring: Static<typeof Paged>, Body: unknown }>, reply: FastifyReply) => {
    const reads = store.reads()
    const filter = readFilter(store.located(request.body))
    const asked = pageOf(request.query)
    const found = await reads.query(filter, asked)
    if (request.method === 'HEAD' && found.entries.length === 0) throw new FST_ERR_RERUM_NOT_FOUND('of these properties')
    return page(request, reply, filter.text, { page: found, asked, outcome: reads.outcome })
  }
  app.post('/api/query', { ...paged, schema: { ...list, summary: 'Objects that match a filter, in the order of their creation', body: JsonObject } }, query)
  app.head('/api/query', { ...paged, schema: { ...list, summary: 'The headers of a query, 404 where nothing matches', body: JsonObject } }, query)

  await app.register(async (scope) => {
    scope.addContentTypeParser<Buffer>('text/plain', { parseAs: 'buffer' }, (_request, body, done) => {
      const text = textOf(body)
      if (text instanceof Error) done(text, undefined)
      else done(null, text)
    })
    for (const [path, kind, summary] of [['/api/search', 'words', 'Objects with all words of a text, best first'], ['/api/search/phrase', 'phrase', 'Objects in which the words of a text follow each other']] as const) {
      scope.post<{ Querystring: Static<typeof Paged>, Body: unknown }>(path, { ...paged, bodyLimit: SEARCH_LIMIT, schema: { ...list, summary, body: Type.Unknown() } }, async (request, reply) => {
        const reads = store.reads()
        const search = readSearch(request.body, kind)
        const { cursor: _cursor, ...asked } = pageOf(request.query)
        const found = await reads.search(search, asked)
        return page(request, reply, search.text, { page: found, asked, outcome: reads.outcome })
      })
    }
  })
}

function pageOf ({ limit = DEFAULT_LIMIT, skip = 0, cursor }: Static<typeof Paged>): PageRequest {
  return { limit: Math.min(limit, MAX_LIMIT), skip, cursor }
}

/** The validator would take 2.9 for 2. */
async function readsExactly ({ query }: FastifyRequest): Promise<void> {
  for (const [name, value] of Object.entries(query as object)) {
    if ((name === 'limit' || name === 'skip') && !/^\d{1,9}$/.test(String(value))) throw new FST_ERR_RERUM_INVALID_PAGE(name)
  }
}

/** Says the limits of a page where they were passed. */
function withMaxima (error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  return sendError(error, request, error.validationContext === 'querystring' || error instanceof FST_ERR_RERUM_INVALID_PAGE ? reply.headers(MAXIMA) : reply)
}

/** What is neither an id nor a slug names nothing, and need not be asked for. */
function known (name: string): string {
  if (!isName(name)) throw new FST_ERR_RERUM_NOT_FOUND(name)
  return name
}

export default reads
