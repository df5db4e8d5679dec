import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { DocumentsUnavailableError } from 'server-kit'
import { audience } from '../auth/viewer.ts'
import { PageQuery } from './guestbook-routes.ts'
import { homePage } from './home.ts'
import { pageResponses, sendPage } from './page.ts'

/** Entries on the home page. */
const NEWEST = 3

const home: FastifyPluginAsyncTypebox = async (app) => {
  const { guestBook } = app.documents

  app.get('/', { schema: { querystring: PageQuery, response: pageResponses } }, async (request, reply) => {
    const [visits, entries, welcome, banner] = await Promise.all([
      app.redisLink.kv.increment('home:visits', request.method === 'HEAD' ? 0 : 1),
      guestBook.list(NEWEST).catch(absent),
      app.templates.orFile('welcome'),
      app.configCache.isFeatureEnabled('banner', { context: audience(app, request) }).then((on) => on ? app.templates.orFile('banner') : undefined).catch(absent)
    ])
    return sendPage(app, request, reply, {
      title: 'jPulse: one site, many workers',
      path: '/',
      content: homePage({
        worker: app.identity.instanceId,
        workers: app.appCluster.members().length,
        visits,
        welcome,
        banner,
        redis: app.redisLink.state,
        mongodb: app.mongoLink?.state ?? 'disabled',
        guestBook: { entries, shared: guestBook.shared, signed: request.query.signed !== undefined }
      })
    })
  })
}

export default home

/** What is out of reach is left out: the rest of the page needs none of it. */
function absent (err: unknown): undefined {
  if (!(err instanceof DocumentsUnavailableError)) throw err
}
