import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Failure, Success } from '@jpulse/plugin-kit'
import { Type } from 'typebox'
import { mustViewer, viewer } from '../auth/viewer.ts'

const Login = Type.Object({
  username: Type.Optional(Type.String({ minLength: 1, maxLength: 300, description: 'User name or e-mail address' })),
  email: Type.Optional(Type.String({ minLength: 1, maxLength: 300 })),
  password: Type.String({ minLength: 1, maxLength: 500 })
})
const Me = Type.Object({ username: Type.String(), role: Type.String() })
const Status = Type.Object({ authenticated: Type.Boolean(), username: Type.Optional(Type.String()), role: Type.Optional(Type.String()) })
const failures = { '4xx': Failure, 503: Failure }

/** Signing in and out for programs. */
const auth: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/login', { bodyLimit: 16_384, schema: { body: Login, response: { 200: Success(Me), ...failures } } }, async (request) => {
    const { username, email, password } = request.body
    const user = await app.accounts.signIn(request, username ?? email ?? '', password)
    return { success: true as const, data: { username: user.username, role: user.role } }
  })

  app.post('/logout', { schema: { response: { 200: Success(Type.Object({ ended: Type.Integer() })), ...failures } } }, async (request) => {
    const ended = viewer(app, request) === null ? 0 : 1
    await app.sessions.logout(request)
    return { success: true as const, data: { ended } }
  })

  app.post('/logout-all', { schema: { response: { 200: Success(Type.Object({ ended: Type.Integer() })), ...failures } } }, async (request) => {
    const ended = await app.sessions.logoutAll(mustViewer(app, request).username)
    await app.sessions.logout(request)
    return { success: true as const, data: { ended } }
  })

  app.get('/status', { schema: { response: { 200: Success(Status), 503: Failure } } }, async (request, reply) => {
    const me = viewer(app, request)
    reply.header('cache-control', 'no-store')
    return { success: true as const, data: me === null ? { authenticated: false } : { authenticated: true, username: me.username, role: me.role } }
  })
}

export default auth
