import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { viewer } from '../auth/viewer.ts'
import { html } from '../html.ts'
import { deviceList } from './device-list.ts'
import { pageResponses, sendPage, toSignIn } from './page.ts'

const Handle = Type.Object({ handle: Type.String({ maxLength: 100 }) })

/** Where a user is signed in, and the end of it. */
const devices: FastifyPluginAsyncTypebox = async (app) => {
  const schema = { response: pageResponses }

  app.get('/devices', { schema }, async (request, reply) => {
    const me = viewer(app, request)
    if (me === null) return toSignIn(reply, '/devices')
    const devices = await app.sessions.list(me.username, request)
    return sendPage(app, request, reply, {
      title: 'Devices · jPulse',
      path: '/devices',
      content: html`
    <h1>Devices</h1>
    <p class="lead">Where you are signed in. What you sign out here is out at once, on every worker, with its open sockets.</p>
    ${deviceList(devices, '/devices/sign-out')}
    <form method="post" action="/devices/sign-out-everywhere"><button type="submit" class="danger">Sign out everywhere</button></form>`
    })
  })
  app.post('/devices/sign-out', { schema: { body: Handle, response: pageResponses } }, async (request, reply) => {
    const me = viewer(app, request)
    if (me === null) return toSignIn(reply, '/devices')
    await app.sessions.revoke(me.username, request.body.handle)
    return reply.redirect('/devices', 303)
  })
  app.post('/devices/sign-out-everywhere', { schema: { response: pageResponses } }, async (request, reply) => {
    const me = viewer(app, request)
    if (me !== null) await app.sessions.logoutAll(me.username)
    await app.sessions.logout(request)
    return reply.redirect('/', 303)
  })
}

export default devices
