import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { FST_ERR_RERUM_INVALID_SLUG, FST_ERR_RERUM_PRECONDITION, FST_ERR_RERUM_VERSION } from '../errors.ts'
import { answerWrite, isMatched } from '../http/answer.ts'
import { contentOf, isRecord, newContentOf, type Body } from '../store/body.ts'
import { isSlug, type Living } from '../store/document.ts'
import { EDITS } from '../store/edits.ts'
import { identified, unidentified } from '../store/identity.ts'
import type { Store } from '../store/store.ts'
import { failures, JsonObject, Named } from './schemas.ts'
import { ownTarget, target } from './targets.ts'

const TAGS = ['write']
const EDITED = { patch: 'changed, null removes one', set: 'added', unset: 'removed' }

const writes: FastifyPluginAsyncTypebox<{ store: Store }> = async (app, { store }) => {
  const { contextUrl } = store
  app.addHook('onRequest', app.asAgent)
  const object = (summary: string) => ({ schema: { tags: TAGS, summary, body: JsonObject, response: { 200: JsonObject, 201: JsonObject, ...failures } } })
  const known = (body: unknown): unknown => identified(body, (uri) => store.isOwn(uri))
  const update = async (body: unknown, agent: string): Promise<Living> => {
    const content = contentOf(body)
    const { own, uri } = target(body as Body, store)
    if (own === undefined) return store.writes.create(content, agent, { origin: uri })
    return store.writes.edit(own, agent, () => content)
  }

  app.post('/create', object('A new object; the header Slug names it'), async (request, reply) => {
    const content = newContentOf(unidentified(request.body), (uri) => store.isOwn(uri))
    const made = await store.writes.create(content, request.agent, { slug: slugIn(request.headers.slug) })
    return answerWrite(reply.code(201), made, contextUrl)
  })

  app.put('/update', object('A new version of the object @id'), async (request, reply) => answerWrite(reply, await update(known(request.body), request.agent), contextUrl))

  for (const [name, edit] of Object.entries(EDITS)) {
    app.patch(`/${name}`, object(`A new version with some properties ${EDITED[name as keyof typeof EDITS]}`), async (request, reply) => {
      const body = known(request.body)
      const changes = contentOf(body)
      const made = await store.writes.edit(ownTarget(body, store), request.agent, (content) => edit(content, changes))
      return answerWrite(reply, made, contextUrl)
    })
  }

  app.put('/overwrite', object('The object @id with other content, in place'), async (request, reply) => {
    const body = known(request.body)
    const content = contentOf(body)
    const made = await store.writes.overwrite(ownTarget(body, store), request.agent, content, allowed(request))
    return answerWrite(reply, made, contextUrl)
  })

  // By the address, or as earlier servers took it: by a body that holds the @id, or is it.
  const named = (request: FastifyRequest<{ Params?: unknown, Body?: unknown }>): string => {
    const { id } = (request.params ?? {}) as { id?: string }
    return id ?? ownTarget(typeof request.body === 'string' ? { '@id': request.body } : known(request.body), store)
  }
  for (const [path, where] of [['/:id', { params: Named }], ['', { body: Type.Unknown() }]] as const) {
    app.delete(`/delete${path}`, { schema: { tags: TAGS, summary: 'Leaves a tombstone in the place of an object', ...where, response: { 204: Type.Null(), ...failures } } }, async (request, reply) => {
      await store.writes.remove(named(request), request.agent)
      return reply.code(204).send(null)
    })
    app.patch(`/release${path}`, { schema: { tags: TAGS, summary: 'Locks an object for good; the header Slug names it', ...where, response: { 200: JsonObject, ...failures } } }, async (request, reply) => {
      const released = await store.writes.release(named(request), request.agent, slugIn(request.headers.slug))
      return answerWrite(reply, released, contextUrl)
    })
  }
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

export default writes
