import type { Feature } from '../feature.ts'

export const cache: Feature = {
  name: 'cache',
  about: 'cached routes and documents that are never stale',
  plugin: '@jpulse/config-cache',
  local: 'configCache',
  options: '{}',
  routes: ['`GET /greeting`, `PUT /greeting` `{ text }` (administrator): a cached route, dropped on every process before the change is confirmed'],
  route: (_project, ts) => `${ts("import type { FastifyInstance } from 'fastify'\n\n")}const Greeting = {
  type: 'object',
  required: ['text'],
  properties: { text: { type: 'string', minLength: 1, maxLength: 500 } }
}${ts(' as const')}

export default async function greeting (app${ts(': FastifyInstance')}) {
  app.get('/greeting', { config: { cache: { tags: 'greeting' } } }, async () => ({ text: await app.redisLink.kv.get('greeting') ?? 'Hello' }))

  app.put${ts('<{ Body: { text: string } }>')}('/greeting', { schema: { body: Greeting }, preHandler: app.auth.onlyAdmin, config: { invalidates: 'greeting' } }, async (request) => {
    await app.redisLink.kv.set('greeting', request.body.text)
    return { saved: true }
  })
}
`,
  test: () => `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asAdmin, build } from './helper.js'

test('a change is seen by the next read, which was cached before', async (t) => {
  const app = await build(t)
  const read = async () => {
    const { headers, body } = await app.inject('/greeting')
    return [headers['x-cache'], JSON.parse(body).text]
  }
  const write = (headers = {}) => app.inject({ method: 'PUT', url: '/greeting', payload: { text: 'Good evening' }, headers })
  assert.deepEqual([await read(), await read()], [['MISS', 'Hello'], ['HIT', 'Hello']])

  assert.equal((await write()).statusCode, 401)
  assert.equal((await write(await asAdmin(app))).statusCode, 200)
  assert.deepEqual(await read(), ['MISS', 'Good evening'])
})
`
}
