import type { Feature } from '../feature.ts'

export const sessions: Feature = {
  name: 'sessions',
  about: 'sign-in that outlives restarts and ends everywhere at once',
  plugin: '@jpulse/redis-sessions',
  local: 'redisSessions',
  options: "{ secret: env.SESSION_SECRET ?? '' }",
  dependencies: ['@fastify/formbody'],
  routes: ['`POST /login` `{ name, password }`, `POST /logout`, `POST /logout-everywhere`, `GET /me`'],
  route: (_project, ts) => `import formbody from '@fastify/formbody'
${ts("import type { FastifyInstance } from 'fastify'\n")}${ts(`
declare module 'fastify' {
  interface Session { name?: string }
}
`)}
const Login = {
  type: 'object',
  required: ['name', 'password'],
  properties: { name: { type: 'string', maxLength: 100 }, password: { type: 'string', maxLength: 200 } }
}${ts(' as const')}

export default async function sessions (app${ts(': FastifyInstance')}) {
  await app.register(formbody)

  // One account, so that nobody else gets in: put your own here.
  app.post${ts('<{ Body: { name: string, password: string } }>')}('/login', { schema: { body: Login } }, async (request, reply) => {
    const { name, password } = request.body
    if (!await app.auth.check(request, name, password)) return reply.code(401).send({ error: 'Name and password do not belong together' })
    await app.sessions.login(request, name, { name })
    return { name }
  })

  app.post('/logout', async (request) => {
    await app.sessions.logout(request)
    return { bye: true }
  })

  app.post('/logout-everywhere', async (request, reply) => {
    const me = app.sessions.current(request)
    if (me === null) return reply.code(401).send({ error: 'Nobody is signed in' })
    return { ended: await app.sessions.logoutAll(me.userId) }
  })

  app.get('/me', async (request) => ({ name: request.session${ts('?')}.name ?? null }))
}
`,
  test: () => `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asAdmin, build } from './helper.js'

test('who signed in is known until the end of all sessions', async (t) => {
  const app = await build(t)
  const [laptop, phone] = [await asAdmin(app), await asAdmin(app)]
  const who = async (headers = {}) => (await app.inject({ url: '/me', headers })).json().name
  assert.deepEqual([await who(), await who(laptop), await who(phone)], [null, 'admin', 'admin'])

  assert.equal((await app.inject({ method: 'POST', url: '/logout-everywhere', headers: phone })).statusCode, 200)
  assert.deepEqual([await who(laptop), await who(phone)], [null, null])
})

test('a wrong password lets nobody in, and ten a minute are all that are answered', async (t) => {
  const app = await build(t)
  const guess = () => app.inject({ method: 'POST', url: '/login', payload: { name: 'admin', password: 'guessed' } })
  for (let n = 0; n < 10; n++) {
    const { statusCode, headers } = await guess()
    assert.equal(statusCode, 401)
    assert.equal(headers['set-cookie'], undefined)
  }
  const { statusCode, headers } = await guess()
  assert.equal(statusCode, 429)
  assert.ok(Number(headers['retry-after']) > 0)
})
`
}
