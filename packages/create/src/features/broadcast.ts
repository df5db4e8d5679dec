import type { Feature } from '../feature.ts'

export const broadcast: Feature = {
  name: 'broadcast',
  about: 'messages to every process, and who is in the cluster',
  plugin: '@jpulse/cluster-broadcast',
  local: 'clusterBroadcast',
  options: '{}',
  routes: ['`POST /notices` `{ text }` (administrator), `GET /notices`: the last that this process heard'],
  route: (_project, ts) => `${ts("import type { FastifyInstance } from 'fastify'\n\n")}const Notice = {
  type: 'object',
  required: ['text'],
  properties: { text: { type: 'string', minLength: 1, maxLength: 500 } }
}${ts(' as const')}

/** As many as a process keeps. */
const MOST = 20

export default async function notices (app${ts(': FastifyInstance')}) {
  const heard${ts(': string[]')} = []

  // Redis has to be asked first, so it waits until all is registered.
  app.addHook('onReady', async () => {
    await app.appCluster.broadcast.subscribe('notice:new', ({ data }) => {
      heard.push(String(data))
      if (heard.length > MOST) heard.shift()
    })
  })

  app.get('/notices', async () => ({ instance: app.appCluster.instanceId, notices: heard }))

  app.post${ts('<{ Body: { text: string } }>')}('/notices', { schema: { body: Notice }, preHandler: app.auth.onlyAdmin }, async (request) => {
    return app.appCluster.broadcast.publish('notice:new', request.body.text)
  })
}
`,
  test: () => `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asAdmin, build } from './helper.js'

test('a notice is heard, and only an administrator sends one', async (t) => {
  const app = await build(t)
  const send = (headers = {}) => app.inject({ method: 'POST', url: '/notices', payload: { text: 'closed on Monday' }, headers })
  assert.equal((await send()).statusCode, 401)
  assert.equal((await send(await asAdmin(app))).statusCode, 200)
  assert.deepEqual((await app.inject('/notices')).json().notices, ['closed on Monday'])
})
`
}
