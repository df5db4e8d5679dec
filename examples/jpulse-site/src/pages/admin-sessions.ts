import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { mustViewer } from '../auth/viewer.ts'
import { NoAccountError } from '../errors.ts'
import { html } from '../html.ts'
import { deviceList } from './device-list.ts'
import { ADMIN_PAGE, pageResponses, sendPage } from './page.ts'

const Of = Type.Object({ username: Type.String({ minLength: 1, maxLength: 64 }) })
const One = Type.Object({ handle: Type.String({ maxLength: 100 }) })

/** Where a user is signed in, and the end of it. */
const adminSessions: FastifyPluginAsyncTypebox = async (app) => {
  const { sessions, documents: { audit, users } } = app

  app.get('/users/:username/sessions', { schema: { params: Of, response: pageResponses } }, async (request, reply) => {
    const { username } = request.params
    if ((await users.find(username))?.username !== username) throw new NoAccountError(username)
    const devices = await sessions.list(username, request)
    return sendPage(app, request, reply, {
      title: `Sessions of ${username} · jPulse`,
      path: ADMIN_PAGE.path,
      back: { path: '/admin/users', label: 'Users' },
      content: html`
    <section class="hero"><h1>Sessions of ${username}</h1>
    <p class="lead">${devices.length === 0 ? 'Signed in nowhere.' : 'What you sign out here is out at once, on every worker, with its open sockets.'}</p></section>
    ${devices.length > 0 && html`${deviceList(devices, addressOf(username))}
    <form method="post" action="/admin/users"><input type="hidden" name="username" value="${username}"><input type="hidden" name="action" value="sign-out"><button type="submit" class="danger">Sign out everywhere</button></form>`}`
    })
  })

  // Only where there is such a session.
  app.post('/users/:username/sessions', { config: { act: () => null }, schema: { params: Of, body: One, response: pageResponses } }, async (request, reply) => {
    const { username } = request.params
    const { handle } = request.body
    const by = mustViewer(app, request).username
    // First, so that nothing is done of which nobody can read.
    const isThere = (await sessions.list(username)).some((one) => one.handle === handle)
    if (isThere) await audit.add({ what: 'signed out on one device', user: username, by, ip: request.ip, userAgent: request.headers['user-agent'] ?? '' })
    await sessions.revoke(username, handle)
    return reply.redirect(addressOf(username), 303)
  })
}

export default adminSessions

const addressOf = (username: string): string => `/admin/users/${encodeURIComponent(username)}/sessions`
