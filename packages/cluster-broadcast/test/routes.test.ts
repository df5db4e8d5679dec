import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { sharedRedis, uniqueName } from '../../../test/helpers/index.ts'
import { build } from './build.ts'

const BASE = '/api/1/app-cluster'
const JSON_TYPE = { 'content-type': 'application/json' }
const authorize = async ({ headers }: FastifyRequest): Promise<boolean> => {
  if (headers.who === 'forbidden') throw Object.assign(new Error('Not you'), { statusCode: 403, code: 'NOT_YOU' })
  if (headers.who === 'broken') throw new Error('secret of the database')
  return headers.who === 'admin'
}

t.test('without authorize the routes do not exist', async (t) => {
  const { app } = await build(t)
  t.equal((await app.inject({ method: 'POST', url: `${BASE}/broadcast/a`, payload: { data: 1 } })).statusCode, 404)
  t.equal((await app.inject(`${BASE}/status`)).statusCode, 404)
})

t.test('nobody gets 401 and the wrong one 403, before the body is looked at; what authorize throws is kept', async (t) => {
  const { app } = await build(t, {}, { authorize }, async (app) => {
    app.addHook('onRequest', async (request) => {
      if (request.headers.who === 'somebody') Object.assign(request, { user: { id: 1 } })
    })
  })
  const requests = [
    { method: 'POST' as const, url: `${BASE}/broadcast/a`, payload: { data: 1 } },
    { method: 'POST' as const, url: `${BASE}/broadcast/a`, headers: JSON_TYPE, payload: 'x'.repeat(2_000_000) },
    { method: 'GET' as const, url: `${BASE}/status` }
  ]
  for (const request of requests) {
    const answer = await app.inject(request)
    t.equal(answer.statusCode, 401)
    t.match(answer.json(), { success: false, code: 'FST_ERR_CLUSTER_BROADCAST_UNAUTHORIZED', statusCode: 401, error: String })
    t.ok(answer.headers['www-authenticate'])
    const wrong = await app.inject({ ...request, headers: { ...request.headers, who: 'somebody' } })
    t.match(wrong.json(), { success: false, code: 'FST_ERR_CLUSTER_BROADCAST_FORBIDDEN', statusCode: 403 })
    const forbidden = await app.inject({ ...request, headers: { ...request.headers, who: 'forbidden' } })
    t.match(forbidden.json(), { success: false, code: 'NOT_YOU', statusCode: 403, error: 'Not you' })
    const broken = await app.inject({ ...request, headers: { ...request.headers, who: 'broken' } })
    t.equal(broken.statusCode, 500)
    t.notMatch(broken.body, /secret/)
  }
})

t.test('POST broadcast sends what it is given, names and data never mangled', async (t) => {
  const siteId = uniqueName()
  const { app } = await build(t, { url: sharedRedis(), siteId }, { authorize })
  const { app: other } = await build(t, { url: sharedRedis(), siteId })
  const got: Array<[string, unknown]> = []
  await other.appCluster.broadcast.subscribe('*', ({ channel, data }) => { got.push([channel, data]) })
  const post = (name: string, payload: unknown) => app.inject({ method: 'POST', url: `${BASE}/broadcast/${encodeURIComponent(name)}`, headers: { who: 'admin', ...JSON_TYPE }, payload: JSON.stringify(payload) })
  const names = ['a', 'view:config:refresh', 'a%20b:c%2Fd', '%', '%25', 'user@example.com:x', Array(16).fill('x'.repeat(100)).join(':'), Array(16).fill('%'.repeat(100)).join(':')]
  const values = [1, null, 'grüße ☃ \u0000', { a: [{}] }, false, '%41', [], '']
  for (const [index, name] of names.entries()) {
    const answer = await post(name, { data: values[index] })
    t.equal(answer.statusCode, 200, answer.body)
    t.match(answer.json(), { success: true, data: { id: String, channel: name, instanceId: app.appCluster.instanceId, timestamp: Number, delivered: 'cluster' } })
  }
  t.equal((await app.inject({ method: 'POST', url: `${BASE}/broadcast/plain:%40:name`, headers: { who: 'admin' }, payload: { data: 1 } })).json().data.channel, 'plain:@:name')
  await other.appCluster.broadcast.ask('wait:for:all')
  t.same(got.slice(0, names.length), names.map((name, index) => [name, values[index]]))
})

t.test('POST broadcast refuses what is wrong, and says what', async (t) => {
  const { app } = await build(t, {}, { authorize, maxMessageBytes: 1000 })
  const got: unknown[] = []
  await app.appCluster.broadcast.subscribe('*', ({ data }) => { got.push(data) })
  const cases: Array<[url: string, payload: string, statusCode: number, code: string]> = [
    ...['', 'a%20b', 'a:', 'a::b', ':', 'gr%C3%BC%C3%9Fe', 'a%2Fb', 'a/b', 'x'.repeat(101), 'a%00', 'a:*', '*', Array(17).fill('a').join(':')]
      .map((name): [string, string, number, string] => [name, '{"data":1}', 400, 'INVALID_CHANNEL']),
    ['ws:chat', '{"data":1}', 403, 'RESERVED_CHANNEL'],
    ['session:ended', '{"data":1}', 403, 'RESERVED_CHANNEL'],
    ['a', '{}', 400, 'INVALID_DATA'],
    ['a', '', 400, 'INVALID_DATA'],
    ['a', '[1]', 400, 'INVALID_DATA'],
    ['a', '{"data":', 400, 'INVALID_DATA'],
    ['a', JSON.stringify({ data: 'x'.repeat(999) }), 413, 'MESSAGE_TOO_LARGE'],
    ['a', JSON.stringify({ data: 'x'.repeat(100_000) }), 413, 'MESSAGE_TOO_LARGE']
  ]
  for (const [name, payload, statusCode, code] of cases) {
    const answer = await app.inject({ method: 'POST', url: `${BASE}/broadcast/${name}`, headers: { who: 'admin', ...JSON_TYPE }, payload })
    t.match(answer.json(), { success: false, code: `FST_ERR_CLUSTER_BROADCAST_${code}`, statusCode, error: String }, `${name} ${payload.slice(0, 20)}`)
    t.equal(answer.statusCode, statusCode)
  }
  const inChunks = await app.inject({ method: 'POST', url: `${BASE}/broadcast/a`, headers: { who: 'admin', ...JSON_TYPE }, payload: Readable.from([JSON.stringify({ data: 'x'.repeat(100_000) })]) })
  t.match(inChunks.json(), { statusCode: 413, error: /^The data are \d+ bytes/ })
  const badEncoding = await app.inject({ method: 'POST', url: `${BASE}/broadcast/%E0%A4%A`, headers: { who: 'admin' }, payload: { data: 1 } })
  t.equal(badEncoding.statusCode, 400)
  t.same(got, [])
})

t.test('once: a claim that a later release wrote in another form is waited for, not written over', async (t) => {
  const { app } = await build(t, { url: sharedRedis(), siteId: uniqueName() })
  const { redisLink: link, appCluster: { broadcast } } = app
  const key = link.key('cluster', 'once', 'app:job')
  await broadcast.once('another, so that the channel is heard', 1000, () => {})
  await link.run((client) => client.set(key, 'running/2 later', 'PX', 60_000))
  const running = broadcast.once('job', 60_000, () => 'mine')
  await new Promise(setImmediate)
  t.equal(await link.run((client) => client.get(key)), 'running/2 later')
  await link.run((client) => client.del(key))
  t.same(await running, { ran: true, value: 'mine' }, 'when it is gone')
})

t.test('GET status shows this instance, the cluster and what is listened to', async (t) => {
  const { app } = await build(t, {}, { authorize, routePrefix: '/admin/cluster', serverId: 's', pmId: '1' })
  await app.appCluster.broadcast.subscribe('a:*', () => {})
  const { data } = (await app.inject({ url: '/admin/cluster/status', headers: { who: 'admin' } })).json()
  t.match(data, { instanceId: 's:1', serverId: 's', bootId: app.appCluster.bootId, mode: 'local', redis: 'disabled', duplicates: [], subscriptions: [{ pattern: 'a:*', handlers: 1 }] })
  t.match(data.members, [{ instanceId: 's:1', pid: process.pid, startedAt: Number, lastSeenMs: 0 }])
})
