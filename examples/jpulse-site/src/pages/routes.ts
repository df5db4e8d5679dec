import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import account from './account.ts'
import admin from './admin.ts'
import analytics from './analytics.ts'
import devices from './devices.ts'
import docs from './docs.ts'
import guestBook from './guestbook-routes.ts'
import hello from './hello.ts'
import home from './home-routes.ts'
import people from './people.ts'

/** Every page of the site. */
const pages: FastifyPluginAsyncTypebox = async (app) => {
  for (const page of [home, guestBook, account, devices, people, analytics, hello, docs]) await app.register(page)
  await app.register(admin, { prefix: '/admin' })
}

export default pages
