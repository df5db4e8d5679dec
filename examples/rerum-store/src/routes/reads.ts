import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { FST_ERR_RERUM_NOT_FOUND } from '../errors.ts'
import { answer, describe } from '../http/answer.ts'
import { isName } from '../store/document.ts'
import { readFilter } from '../store/filter.ts'
import type { Page } from '../store/reads.ts'
import { readSearch } from '../store/search.ts'
import type { Store } from '../store/store.ts'
import { failures, JsonObject, Named, Objects, Paged } from './schemas.ts'

/** Requests without a token: bodies this small are read and checked within a few milliseconds. */
const QUERY_LIMIT = 64 * 1024
const SEARCH_LIMIT = 4 * 1024
const MAX_LIMIT = 500

const reads: FastifyPluginAsyncTypebox<{ store: Store }> = async (app, { store }) => {
  const one = { schema: { params: Named, response: { 200: JsonObject, ...failures } } }
  const several = { schema: { params: Named, response: { 200: Objects, ...failures } } }

  app.get('/id/:id', one, async (request, reply) => {
    const reads = store.reads()
    const object = await reads.object(known(request.params.id))
    return answer(request, describe(reply, object, store.contextUrl), object, reads.outcome)
  })

  app.get('/history/:id', several, async (request, reply) => {
    const reads = store.reads()
    return answer(request, reply, await reads.history(known(request.params.id)), reads.outcome)
  })

  app.get('/since/:id', several, async (request, reply) => {
    const reads = store.reads()
    return answer(request, reply, await reads.since(known(request.params.id)), reads.outcome)
  })

  app.post('/api/query', { bodyLimit: QUERY_LIMIT, schema: { querystring: Paged, body: JsonObject, response: { 200: Objects, ...failures } } }, async (request, reply) => {
    const reads = store.reads()
    return answer(request, reply, await reads.query(readFilter(request.body), pageOf(request.query)), reads.outcome)
  })

  const search: FastifyPluginAsyncTypebox = async (scope) => {
    scope.addContentTypeParser('text/plain', { parseAs: 'string' }, (_request, body, done) => done(null, body))
    scope.post('/api/search', { bodyLimit: SEARCH_LIMIT, schema: { querystring: Paged, body: Type.Unknown(), response: { 200: Objects, ...failures } } }, async (request, reply) => {
      const reads = store.reads()
      return answer(request, reply, await reads.search(readSearch(request.body), pageOf(request.query)), reads.outcome)
    })
  }
  await app.register(search)
}

const pageOf = ({ limit = 100, skip = 0 }: Partial<Page>): Page => ({ limit: Math.min(limit, MAX_LIMIT), skip })

/** What is neither an id nor a slug names nothing, and need not be asked for. */
function known (name: string): string {
  if (!isName(name)) throw new FST_ERR_RERUM_NOT_FOUND(name)
  return name
}

export default reads
