import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifySchemaValidationError } from 'fastify'
import { Type } from 'typebox'
import { DocumentsUnavailableError } from 'server-kit'
import { type GuestBook, LIST_MAX, MESSAGE_MAX, NAME_MAX, NewEntrySchema } from '../guestbook/guestbook.ts'
import { tidyBody } from '../guestbook/input.ts'
import type { Html } from '../html.ts'
import { Page, PageFailure } from '../schemas.ts'
import { guestBookPage } from './guestbook.ts'
import { homePage } from './home.ts'

/** Entries on the home page. */
const NEWEST = 5

const PageQuery = Type.Object({ signed: Type.Optional(Type.String()) })

const routes: FastifyPluginAsyncTypebox<{ guestBook: GuestBook }> = async (app, { guestBook }) => {
  const { shared } = guestBook
  const worker = app.identity.instanceId

  app.get('/', { schema: { querystring: PageQuery, response: { 200: Page, '4xx': PageFailure } } }, async (request, reply) => {
    const [visits, entries] = await Promise.all([
      app.redisLink.kv.increment('home:visits', request.method === 'HEAD' ? 0 : 1),
      guestBook.list(NEWEST).catch(absent)
    ])
    return send(reply, homePage({
      worker,
      visits,
      redis: app.redisLink.state,
      mongodb: app.mongoLink?.state ?? 'disabled',
      guestBook: { entries, shared, signed: request.query.signed !== undefined }
    }))
  })

  app.get('/guestbook', { schema: { querystring: PageQuery, response: { 200: Page, '4xx': PageFailure, 503: PageFailure } } }, async (request, reply) => {
    const entries = await guestBook.list(LIST_MAX)
    return send(reply, guestBookPage({ worker, entries, shared, signed: request.query.signed !== undefined }))
  })

  app.post('/guestbook', {
    attachValidation: true,
    bodyLimit: 32 * 1024,
    preValidation: tidyBody,
    schema: { body: NewEntrySchema, response: { 303: Type.Null(), '4xx': PageFailure, 503: PageFailure } }
  }, async (request, reply) => {
    const invalid = request.validationError
    if (invalid === undefined) {
      await guestBook.add(request.body)
      // Redirected, so that a reload of the page that follows does not post again.
      return reply.redirect('/guestbook?signed', 303)
    }
    const form = { ...typed(request.body), problems: problems(invalid.validation) }
    return send(reply.code(400), guestBookPage({ worker, entries: await guestBook.list(LIST_MAX), shared, form }))
  })
}

export default routes

function send (reply: FastifyReply, page: Html): FastifyReply {
  return reply.header('cache-control', 'no-store').type('text/html; charset=utf-8').send(page.toString())
}

function absent (err: unknown): undefined {
  if (!(err instanceof DocumentsUnavailableError)) throw err
}

/** What came in the form, whatever it was. */
function typed (body: unknown): { name: string, message: string } {
  const { name, message } = (body ?? {}) as Record<string, unknown>
  return { name: typeof name === 'string' ? name : '', message: typeof message === 'string' ? message : '' }
}

function problems (errors: readonly FastifySchemaValidationError[]): { name?: string, message?: string } {
  const at = (field: string) => errors.some(({ instancePath, params }) =>
    instancePath === `/${field}` || (instancePath === '' && JSON.stringify(params).includes(`"${field}"`)))
  return {
    ...(at('name') && { name: `Please give a name of 1 to ${NAME_MAX} characters.` }),
    ...(at('message') && { message: `Please write a message of 1 to ${MESSAGE_MAX} characters.` })
  }
}
