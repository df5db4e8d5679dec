import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifySchemaValidationError } from 'fastify'
import { Type } from 'typebox'
import { maybeViewer } from '../auth/viewer.ts'
import { LIST_MAX, MESSAGE_MAX, NAME_MAX, NewEntrySchema } from '../guestbook/guestbook.ts'
import { tidyBody } from '../guestbook/input.ts'
import { type GuestBookView, guestBookPage } from './guestbook.ts'
import { pageResponses, sendPage } from './page.ts'

export const PageQuery = Type.Object({ signed: Type.Optional(Type.String()) })

/** The guest book: the one form that needs no account. */
const guestBook: FastifyPluginAsyncTypebox = async (app) => {
  const { guestBook } = app.documents
  const page = (view: Omit<GuestBookView, 'shared'>) => ({
    title: 'Guest book · jPulse', path: '/guestbook', content: guestBookPage({ ...view, shared: guestBook.shared })
  })

  app.get('/guestbook', { schema: { querystring: PageQuery, response: pageResponses } }, async (request, reply) => {
    const entries = await guestBook.list(LIST_MAX)
    const me = maybeViewer(app, request)
    return sendPage(app, request, reply, page({ entries, mayRemove: me !== null && me !== 'unknown' && me.role === 'admin', signed: request.query.signed !== undefined }))
  })

  app.post('/guestbook', {
    attachValidation: true,
    bodyLimit: 32 * 1024,
    preValidation: tidyBody,
    schema: { body: NewEntrySchema, response: pageResponses }
  }, async (request, reply) => {
    const invalid = request.validationError
    if (invalid === undefined) {
      await guestBook.add(request.body)
      // Redirected, so that a reload of the page that follows does not post again.
      return reply.redirect('/guestbook?signed', 303)
    }
    const form = { ...typed(request.body), problems: problems(invalid.validation) }
    return sendPage(app, request, reply.code(400), page({ entries: await guestBook.list(LIST_MAX), form }))
  })
}

export default guestBook

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
