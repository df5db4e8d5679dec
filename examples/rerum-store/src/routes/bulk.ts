import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { FST_ERR_RERUM_DELETED, FST_ERR_RERUM_INVALID_BODY, FST_ERR_RERUM_NOT_FOUND } from '../errors.ts'
import { contentOf, isRecord, newContentOf, type Body } from '../store/body.ts'
import type { Living } from '../store/document.ts'
import { identified, shown, unidentified } from '../store/identity.ts'
import type { Store } from '../store/store.ts'
import { failures, Objects } from './schemas.ts'
import { target } from './targets.ts'

const MAX_BULK = 200
/** Addresses in `Link`: proxies take some kilobytes of headers. */
const MAX_LINKED = 40
const Bulk = Type.Array(Type.Unknown(), { minItems: 1, maxItems: MAX_BULK })
const Report = Type.Object({ updated: Objects, missing: Type.Array(Type.String()), deleted: Type.Array(Type.String()) })
const TAGS = ['write']

const bulk: FastifyPluginAsyncTypebox<{ store: Store }> = async (app, { store }) => {
  app.addHook('onRequest', app.asAgent)

  app.post('/bulkCreate', { schema: { tags: TAGS, summary: 'Up to 200 new objects, all or none; empty ones are left out', body: Bulk, response: { 201: Objects, ...failures } } }, async (request, reply) => {
    const bodies = request.body.filter((body) => !(isRecord(body) && Object.keys(body).length === 0))
    if (bodies.length === 0) throw new FST_ERR_RERUM_INVALID_BODY('holds empty objects only')
    const made = await store.writes.createAll(bodies.map((body) => newContentOf(unidentified(body))), request.agent)
    return reply.code(201).header('Link', linkOf(made)).send(made.map(shown))
  })

  app.put('/bulkUpdate', {
    schema: {
      tags: TAGS,
      summary: 'Up to 200 new versions, one after the other',
      description: 'What is missing, of elsewhere or deleted is left out of the array; with report=true the answer says which.',
      querystring: Type.Object({ report: Type.Optional(Type.Boolean()) }),
      body: Bulk,
      response: { 200: Type.Union([Objects, Report]), ...failures }
    }
  }, async (request, reply) => {
    const [made, missing, deleted] = [[] as Living[], [] as string[], [] as string[]]
    const bodies = request.body.map((body) => identified(body, (uri) => store.isOwn(uri)) as Body)
    for (const { content, own, uri } of bodies.map((body) => ({ content: contentOf(body), ...target(body, store) }))) {
      try {
        if (own === undefined) missing.push(uri)
        else made.push(await store.writes.edit(own, () => content, request.agent))
      } catch (err) {
        if (err instanceof FST_ERR_RERUM_NOT_FOUND) missing.push(uri)
        else if (err instanceof FST_ERR_RERUM_DELETED) deleted.push(uri)
        else throw err
      }
    }
    if (made.length > 0) reply.header('Link', linkOf(made))
    const updated = made.map(shown)
    return request.query.report === true ? { updated, missing, deleted } : updated
  })
}

const linkOf = (made: readonly Living[]): string => made.slice(0, MAX_LINKED).map((object) => `<${object['@id']}>; rel="item"`).join(', ')

export default bulk
