import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { FST_ERR_RERUM_DELETED, FST_ERR_RERUM_INVALID_BODY, FST_ERR_RERUM_INVALID_ID, FST_ERR_RERUM_INVALID_SLUG, FST_ERR_RERUM_NOT_FOUND, FST_ERR_RERUM_PRECONDITION, FST_ERR_RERUM_VERSION } from '../errors.ts'
import { answerWrite, isMatched } from '../http/answer.ts'
import { contentOf, isRecord, newContentOf, type Body } from '../store/body.ts'
import { isSlug, type Living } from '../store/document.ts'
import { EDITS } from '../store/edits.ts'
import { identified, shown, unidentified } from '../store/identity.ts'
import type { Store } from '../store/store.ts'
import { isWellFormed } from '../store/text.ts'
import { failures, JsonObject, Named, Objects } from './schemas.ts'

const MAX_BULK = 200
const Bulk = Type.Array(Type.Unknown(), { minItems: 1, maxItems: MAX_BULK })
const Updated = Type.Object({ updated: Objects, missing: Type.Array(Type.String()), deleted: Type.Array(Type.String()) })

const writes: FastifyPluginAsyncTypebox<{ store: Store }> = async (app, { store }) => {
  app.addHook('onRequest', app.asAgent)
  const object = { schema: { body: JsonObject, response: { 200: JsonObject, 201: JsonObject, ...failures } } }

  app.post('/create', object, async (request, reply) => {
    const made = await store.writes.create(newContentOf(unidentified(request.body)), request.agent, { slug: slugIn(request.headers.slug) })
    return answerWrite(reply.code(201), made, store.contextUrl)
  })

  app.post('/bulkCreate', { schema: { body: Bulk, response: { 201: Objects, ...failures } } }, async (request, reply) => {
    const made = await store.writes.createAll(request.body.map((body) => newContentOf(unidentified(body))), request.agent)
    return reply.code(201).send(made.map(shown))
  })

  const known = (body: unknown): unknown => identified(body, (uri) => store.isOwn(uri))
  const update = async (body: unknown, agent: string): Promise<Living> => {
    const content = contentOf(body)
    const { own, uri } = target(body as Body, store)
    if (own === undefined) return store.writes.create(content, agent, { origin: uri })
    return store.writes.edit(own, agent, () => content)
  }

  app.put('/update', object, async (request, reply) => answerWrite(reply, await update(known(request.body), request.agent), store.contextUrl))

  app.put('/bulkUpdate', { schema: { body: Bulk, response: { 200: Updated, ...failures } } }, async (request) => {
    const outcome = { updated: [] as object[], missing: [] as string[], deleted: [] as string[] }
    const bodies = request.body.map(known).map((body) => ({ body, uri: target({ ...contentOf(body), '@id': (body as Body)['@id'] }, store).uri }))
    for (const { body, uri } of bodies) {
      try {
        outcome.updated.push(shown(await update(body, request.agent)))
      } catch (err) {
        if (err instanceof FST_ERR_RERUM_NOT_FOUND) outcome.missing.push(uri)
        else if (err instanceof FST_ERR_RERUM_DELETED) outcome.deleted.push(uri)
        else throw err
      }
    }
    return outcome
  })

  for (const [name, edit] of Object.entries(EDITS)) {
    app.patch(`/${name}`, object, async (request, reply) => {
      const body = known(request.body)
      const changes = contentOf(body)
      const made = await store.writes.edit(ownTarget(body, store), request.agent, (content) => edit(content, changes))
      return answerWrite(reply, made, store.contextUrl)
    })
  }

  app.put('/overwrite', object, async (request, reply) => {
    const body = known(request.body)
    const content = contentOf(body)
    const made = await store.writes.overwrite(ownTarget(body, store), request.agent, content, allowed(request))
    return answerWrite(reply, made, store.contextUrl)
  })

  app.delete('/delete/:id', { schema: { params: Named, response: { 204: Type.Null(), ...failures } } }, async (request, reply) => {
    await store.writes.remove(request.params.id, request.agent)
    return reply.code(204).send(null)
  })

  app.patch('/release/:id', { schema: { params: Named, response: { 200: JsonObject, ...failures } } }, async (request, reply) => {
    const released = await store.writes.release(request.params.id, request.agent, slugIn(request.headers.slug))
    return answerWrite(reply, released, store.contextUrl)
  })
}

/** Lets an overwrite through over the version that the client has read, as far as it says which: in a header, or in the body. */
function allowed ({ headers, body }: FastifyRequest): (current: Living) => void {
  const { __rerum } = body as Body
  const version = [headers['if-overwritten-version']].flat()[0] ?? (isRecord(__rerum) ? __rerum.isOverwritten : undefined)
  return (current) => {
    if (!isMatched(headers['if-match'], current)) throw Object.assign(new FST_ERR_RERUM_PRECONDITION(), { current })
    if (typeof version === 'string' && version !== current.__rerum.isOverwritten) throw Object.assign(new FST_ERR_RERUM_VERSION(), { current })
  }
}

function slugIn (header: string | string[] | undefined): string | undefined {
  const slug = [header].flat()[0]
  if (slug === undefined || slug === '') return undefined
  if (!isSlug(slug)) throw new FST_ERR_RERUM_INVALID_SLUG(slug.slice(0, 100))
  return slug
}

/** Which object a body means: one of ours by the end of its @id, or a foreign one. */
function target (body: Body, store: Store): { own: string | undefined, uri: string } {
  const uri = body['@id']
  if (uri === undefined) throw new FST_ERR_RERUM_INVALID_BODY('has no @id')
  if (typeof uri !== 'string' || uri.length > 2000 || !isWellFormed(uri) || !URL.canParse(uri)) throw new FST_ERR_RERUM_INVALID_ID(String(uri).slice(0, 200))
  return { own: store.nameIn(uri), uri }
}

function ownTarget (body: unknown, store: Store): string {
  if (!isRecord(body)) throw new FST_ERR_RERUM_INVALID_BODY('must be a JSON object')
  const { own, uri } = target(body, store)
  if (own === undefined) throw new FST_ERR_RERUM_NOT_FOUND(uri)
  return own
}

export default writes
