import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Failure, Success } from '@jpulse/plugin-kit'
import { Type } from 'typebox'
import { isAdmin, mustViewer } from '../auth/viewer.ts'

const Text = Type.Object({ text: Type.String({ minLength: 1, maxLength: 500, pattern: '\\S' }) })
const Sent = Success(Type.Object({ delivered: Type.Enum(['cluster', 'local']) }))
const Heard = Success(Type.Object({ instances: Type.Array(Type.String()), missing: Type.Array(Type.String()) }))
const UserId = Type.Object({ userId: Type.String({ minLength: 1, maxLength: 100 }) })
const failures = { '4xx': Failure, 503: Failure }

/** Messages to the pages that are open, and to the processes. */
const messages: FastifyPluginAsyncTypebox = async (app) => {
  const status = app.wsNamespaces.get('jpulse-ws-status')!

  app.post('/broadcast', {
    onRequest: async (request) => { isAdmin(request) },
    schema: { description: 'To every open page of whoever is signed in.', body: Text, response: { 200: Sent, ...failures } }
  }, async (request) => {
    const { delivered } = await status.broadcast('notice', { text: request.body.text, by: mustViewer(app, request).username })
    return { success: true as const, data: { delivered } }
  })

  app.post('/message/:userId', {
    onRequest: async (request) => { isAdmin(request) },
    schema: { description: 'To every open page of one user.', params: UserId, body: Text, response: { 200: Sent, ...failures } }
  }, async (request) => {
    const { delivered } = await status.toUser(request.params.userId, 'notice', { text: request.body.text, by: mustViewer(app, request).username })
    return { success: true as const, data: { delivered } }
  })

  app.post('/notices', {
    schema: { description: 'To every process of the cluster, each of which answers, and to every open page.', body: Text, response: { 200: Heard, ...failures } }
  }, async (request) => {
    const { username } = mustViewer(app, request)
    const data = await app.notices.send(request.body.text, username)
    await status.broadcast('notice', { text: request.body.text, by: username })
    return { success: true as const, data }
  })
}

export default messages
