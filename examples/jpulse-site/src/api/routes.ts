import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import guestBook from '../guestbook/routes.ts'
import analytics from './analytics.ts'
import auth from './auth.ts'
import messages from './messages.ts'
import templates from './templates.ts'
import users from './users.ts'

/** The site's own part of the API; the plugins bring theirs. */
const api: FastifyPluginAsyncTypebox = async (app) => {
  await app.register(auth, { prefix: '/auth' })
  await app.register(users)
  await app.register(analytics)
  await app.register(messages)
  await app.register(templates)
  await app.register(guestBook, { guestBook: app.documents.guestBook })
}

export default api
