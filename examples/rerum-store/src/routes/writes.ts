import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { FST_ERR_RERUM_INVALID_SLUG, FST_ERR_RERUM_PRECONDITION, FST_ERR_RERUM_VERSION } from '../errors.ts'
import { answerWrite, isMatched } from '../http/answer.ts'
import { contentOf, isRecord, newContentOf, type Body } from '../store/body.ts'
import { isSlug, type Living } from '../store/document.ts'
import { EDITS } from '../store/edits.ts'
import { lastTimeIn } from '../store/entry.ts'
import { identified, unidentified } from '../store/identity.ts'
import type { Store } from '../store/store.ts'
import type { Allow } from '../store/writes.ts'
import { failures, JsonObject, linked, Named } from './schemas.ts'
import { ownTarget, target } from './targets.ts'

const TAGS = ['write']
const EDITED = { patch: 'changed, null removes one', set: 'added', unset: 'removed' }

const writes: FastifyPluginAsyncTypebox<{ store: Store }> = async (app, { store }) => {
  const { contextUrl } = store
  app.addHook('onRequest', app.asAgent)
  const object = (summary: string) => ({ schema: { tags: TAGS, summary, body: JsonObject, response: { 200: linked(JsonObject), 201: linked(JsonObject), ...failures } } })
  const known = (body: unknown): unknown => identified(body, (uri) => store.isOwn(uri))
  const update = async (request: FastifyRequest): Promise<Living> => {
    const body = known(request.body)
    const content = contentOf(body)
    const { own, uri } = target(body as Body, store)
    if (own !== undefined) return store.writes.edit(own, () => content, request.agent, unchanged(request))
    // What is not here yet is nothing that If-Match could name (RFC 9110, section 13.1.1).
    if (request.headers['if-match'] !== undefined) throw new FST_ERR_RERUM_PRECONDITION()
    return store.writes.create(content, request.agent, { origin: uri })
  }

  app.post('/create', object('A new object; the header Slug names it'), async (request, reply) => {
    const content = newContentOf(unidentified(request.body), (uri) => store.isOwn(uri))
    const made = await store.writes.create(content, request.agent, { slug: slugIn(request.headers.slug) })
    return answerWrite(reply.code(201), made, contextUrl)
  })

  app.put('/update', object('A new version of the object @id'), async (request, reply) => answerWrite(reply, await update(request), contextUrl))

  for (const [name, edit] of Object.entries(EDITS)) {
    app.patch(`/${name}`, object(`A new version with some properties ${EDITED[name as keyof typeof EDITS]}`), async (request, reply) => {
      const body = known(request.body)
      const changes = contentOf(body)
      const made = await store.writes.edit(ownTarget(body, store), (content) => edit(content, changes), request.agent, unchanged(request))
      return answerWrite(reply, made, contextUrl)
    })
  }

  app.put('/overwrite', object('The object @id with other content, in place'), async (request, reply) => {
    const body = known(request.body)
    const content = contentOf(body)
    const made = await store.writes.overwrite(ownTarget(body, store), content, request.agent, unchanged(request, versionIn(request)))
    return answerWrite(reply, made, contextUrl)
  })

  // By the address, or as earlier servers took it: by a body that holds the @id, or is it.
  const named = (request: FastifyRequest<{ Params?: unknown, Body?: unknown }>): string => {
    const { id } = (request.params ?? {}) as { id?: string }
    return id ?? ownTarget(typeof request.body === 'string' ? { '@id': request.body } : known(request.body), store)
  }
  for (const [path, where] of [['/:id', { params: Named }], ['', { body: Type.Unknown() }]] as const) {
    app.delete(`/delete${path}`, { schema: { tags: TAGS, summary: 'Leaves a tombstone in the place of an object', ...where, response: { 204: Type.Null(), ...failures } } }, async (request, reply) => {
      await store.writes.remove(named(request), request.agent, unchanged(request))
      return reply.code(204).send(null)
    })
    app.patch(`/release${path}`, { schema: { tags: TAGS, summary: 'Locks an object for good; the header Slug names it', ...where, response: { 200: linked(JsonObject), ...failures } } }, async (request, reply) => {
      const released = await store.writes.release(named(request), slugIn(request.headers.slug), request.agent, unchanged(request))
      return answerWrite(reply, released, contextUrl)
    })
  }
}

/**
 * Lets a write through over what the client has read, as far as it says so: by its entity tag, its time, or the version that an
 * overwrite is for.
 */
function unchanged ({ headers }: FastifyRequest, version?: unknown): Allow {
  const since = headers['if-match'] === undefined ? Date.parse(headers['if-unmodified-since'] ?? '') : NaN
  return ({ object: current, modified }) => {
    // What is no time is no condition (RFC 9110, section 13.1.4).
    if (!isMatched(headers['if-match'], current) || Date.parse(modified ?? lastTimeIn(current)) - since >= 1000) throw Object.assign(new FST_ERR_RERUM_PRECONDITION(), { current })
    if (typeof version === 'string' && version !== current.__rerum.isOverwritten) throw Object.assign(new FST_ERR_RERUM_VERSION(), { current })
  }
}

/** In a header, or in the body as it was read. */
function versionIn ({ headers, body }: FastifyRequest): unknown {
  const { __rerum } = body as Body
  return [headers['if-overwritten-version']].flat()[0] ?? (isRecord(__rerum) ? __rerum.isOverwritten : undefined)
}

function slugIn (header: string | string[] | undefined): string | undefined {
  const slug = [header].flat()[0]
  if (slug === undefined || slug === '') return undefined
  if (!isSlug(slug)) throw new FST_ERR_RERUM_INVALID_SLUG(slug.slice(0, 100))
  return slug
}

export default writes
