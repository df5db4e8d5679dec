import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { connect, redisServer, uniqueName, sharedRedis, waitFor, workers, type Scope, type Worker } from '../../../test/helpers/index.ts'
import { Announcer, Webhook } from '../src/announce/index.ts'
import { NOTHING_KNOWN, transitions, type Known } from '../src/announce/transitions.ts'
import { Incidents } from '../src/application/index.ts'
import type { Health, Report } from '../src/formats/index.ts'
import type { HealthEvent } from '../src/index.ts'
import { resolveOptions } from '../src/options.ts'
import { build } from './build.ts'

t.setTimeout(180_000)
const slow = { timeoutMs: 60_000, everyMs: 20 }
const SCRIPT = new URL('./fixtures/instance.js', import.meta.url)
const SECRET = `whsec_${Buffer.from('a signing key of a test, of 32 b').toString('base64')}`

interface Received { headers: IncomingHttpHeaders, body: string, events: HealthEvent[], text: string, site: string }

/** A receiver of webhooks that answers the given statuses first, and 204 then. */
async function receiver (t: Scope, { statuses = [], afterMs = 0 }: { statuses?: number[], afterMs?: number } = {}) {
  const received: Received[] = []
  const server = createServer(async (request, response) => {
    const body = (await request.setEncoding('utf8').toArray()).join('')
    received.push({ headers: request.headers, body, ...JSON.parse(body) })
    const status = statuses[received.length - 1] ?? 204
    await sleep(afterMs)
    response.writeHead(status, { location: '/elsewhere' }).end('a token=abc123def of the far side')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { received, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks/T0PSECRETPATH9` }
}

t.test('what becomes of instances and checks is told once per cluster: to listeners, and by a signed webhook', async (t) => {
  const siteId = uniqueName()
  const { received, url } = await receiver(t, { statuses: [500] })
  const environment = (index: number) => ({
    LINK: JSON.stringify({ url: sharedRedis(), siteId, env: 'test' }),
    OPTIONS: JSON.stringify({ reportIntervalMs: 200, ttlMs: 4000, webhook: { url, secret: SECRET, headers: { Authorization: 'Bearer T0PSECRETTOKEN4' } } }),
    SERVER_ID: 'web1',
    NODE_APP_INSTANCE: String(index),
    LISTENS: 'yes'
  })
  let living = await workers(t, 4, SCRIPT, { env: environment }) as Worker[]
  const [killed, closed, sick] = living as [Worker, Worker, Worker, Worker]
  const told = async () => (await Promise.all(living.map((worker) => worker.call<HealthEvent[]>('told')))).flat()
    .map(({ type, subject, instanceId, check, reason }) => [type, subject, instanceId, check ?? reason ?? ''].join(' ').trim()).sort()
  const posted = () => received.flatMap(({ events }) => events)
  const have = (...events: string[]) => waitFor(async () => JSON.stringify(await told()) === JSON.stringify(events.toSorted()), { what: `exactly ${events}`, ...slow }).catch(async (err) => { throw new Error(`${err.message}: ${await told()}`) })
  const client = connect(t, Number(new URL(sharedRedis()).port))
  const known = async () => Object.keys((JSON.parse((await client.get(`${siteId}:test:health:announced:listeners`))?.replace(/^\d+ /, '') ?? '{"known":{"living":{}}}')).known.living)
  await waitFor(async () => (await known()).length === 4, { what: 'all to be known', ...slow })
  // Long enough to be no starters any more.
  const uptimes = async () => JSON.parse((await sick.call<{ body: string }>('get', '/api/1/metrics')).body).data.servers[0].instances.map(({ uptime }: { uptime: number }) => uptime)
  await waitFor(async () => Math.min(...await uptimes()) >= 5, { what: 'all to have started', ...slow })

  killed.kill('SIGKILL')
  await killed.exited
  living = living.filter((worker) => worker !== killed)
  await have('down instance web1:0 gone')
  const [again] = await workers(t, 1, SCRIPT, { env: environment(0) }) as [Worker]
  living.push(again)
  await have('down instance web1:0 gone', 'up instance web1:0')
  await sick.call('setDisk', false)
  const bad = ['down instance web1:0 gone', 'up instance web1:0', 'down check web1:2 disk', 'down instance web1:2 not ready']
  await have(...bad)
  await waitFor(() => posted().length >= 4 + 1 && received.at(-1)!.events.length === 2, { what: 'the webhooks', ...slow })
  const heard = await closed.call<HealthEvent[]>('told')
  const logged = await closed.call<string[]>('logged')
  await closed.call('close')
  living = living.filter((worker) => worker !== closed)
  await sick.call('setDisk', true)
  const events = [...bad, 'up check web1:2 disk', 'up instance web1:2']
  await waitFor(async () => (await told()).length + heard.length === events.length, { what: 'all is well again, and nothing of the one that left', ...slow })

  await waitFor(() => new Set(received.map(({ headers }) => headers['webhook-id'])).size === 4, { what: 'four messages', ...slow })
  t.equal(received.length, 5, 'the first one twice, since it was answered 500')
  t.equal(received[0]!.headers['webhook-id'], received[1]!.headers['webhook-id'], 'by the same id')
  for (const { headers, body } of received) {
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
    t.equal(headers['webhook-signature'], `v1,${createHmac('sha256', 'a signing key of a test, of 32 b').update(signed).digest('base64')}`)
    t.equal(headers['content-type'], 'application/json')
    t.equal(headers.authorization, 'Bearer T0PSECRETTOKEN4')
  }
  t.match(received[1], { site: `${siteId}:test`, text: '■ web1:0 is gone', events: [{ type: 'down', subject: 'instance', reason: 'gone', serverId: 'web1' }] })
  t.ok(received.some(({ text }) => text.split('\n').sort().join() === '■ disk of web1:2 is down,■ web1:2 is not ready'))
  const lines = [logged, ...await Promise.all(living.map((worker) => worker.call<string[]>('logged')))].flat().join('')
  for (const secret of ['T0PSECRETPATH9', 'T0PSECRETTOKEN4', SECRET, 'abc123def']) t.notOk(lines.includes(secret), secret)
  t.match(lines, /a listener of clusterMetrics failed/)
})

t.test('while Redis is away one process tells of itself, and says when it is back; a webhook that is refused is given up', async (t) => {
  const server = await redisServer(t)
  const { received, url } = await receiver(t, { statuses: [302] })
  const link = { url: server.url, siteId: uniqueName(), env: 'test' }
  // Longer than the outage and the pauses after which the processes, each at its own time, connect again.
  const options = { reportIntervalMs: 100, ttlMs: 10_000, webhook: { url, events: ['degraded', 'up'] as const } }
  const told: string[] = []
  const apps = await Promise.all(['0', '1', '2'].map(async (pmId) => {
    const built = await build(t, { link, pmId, options })
    for (const type of ['down', 'degraded', 'up'] as const) built.app.clusterMetrics.on(type, ({ subject, check }) => { told.push(`${type} ${check ?? subject}`) })
    return built
  }))
  await waitFor(() => apps.every(({ app }) => app.appCluster.members().length === 3), { what: 'all to know each other', ...slow })
  await waitFor(async () => (await apps[0]!.app.clusterMetrics.aggregate()).statistics.totalInstances === 3, { what: 'all to have reported', ...slow })
  await server.kill()
  await waitFor(() => told.length >= 2 && received.length >= 1, { what: 'the outage to be told', ...slow })
  await server.restart()
  await waitFor(() => told.length >= 4, { what: 'its end to be told', ...slow })
  t.same(told.toSorted(), ['degraded instance', 'down redis', 'up instance', 'up redis'], 'by one of the three')
  await waitFor(() => received.length >= 2, { what: 'the webhooks', ...slow })
  t.same(received.map(({ events }) => events.map(({ type }) => type)), [['degraded'], ['up', 'up']], 'one each: a redirect is neither followed nor tried again')
  t.ok(apps.some(({ lines }) => lines.some((line) => line.includes('"problem":"status 302"') && line.includes('given up'))))
})

t.test('each incident is told once, and its end, however short it was and however slow the webhook', async (t) => {
  const { received, url } = await receiver(t, { afterMs: 500 })
  const link = { url: sharedRedis(), siteId: uniqueName(), env: 'test' }
  const told: string[] = []
  let asked = 0
  let good = true
  const start = async (pmId: string) => {
    const { app, parts } = await build(t, { link, pmId, options: { reportIntervalMs: 100, ttlMs: 1000, webhook: { url } } })
    for (const type of ['down', 'degraded', 'up'] as const) app.clusterMetrics.on(type, ({ subject, check }) => { told.push(`${type} ${check ?? subject}`) })
    return { app, parts }
  }
  const [{ app: sick }, { app: other, parts }] = await Promise.all([start('0'), start('1')])
  sick.clusterMetrics.check('pay', () => {
    asked++
    return good
  })
  await waitFor(async () => (await other.clusterMetrics.aggregate()).servers[0]?.instances.length === 2, { what: 'both to know each other', ...slow })
  const reports = async (count: number) => {
    const until = asked + count
    await waitFor(() => asked >= until, { what: `${count} reports`, ...slow })
  }
  await reports(3)
  for (let i = 0; i < 4; i++) {
    good = false
    await reports(3)
    good = true
    await reports(3)
  }
  const once = ['degraded instance', 'down pay', 'up instance', 'up pay']
  const all = [...once, ...once, ...once, ...once].sort()
  const posted = () => received.flatMap(({ events }) => events.map(({ type, subject, check }) => `${type} ${check ?? subject}`))
  await waitFor(() => told.length >= all.length && posted().length >= all.length, { what: 'all to be told', ...slow }).catch((err) => { t.comment(`${err}`) })
  await reports(8)
  t.same(told.toSorted(), all, 'to listeners')
  t.same(posted().sort(), all, 'by the webhook')
  t.equal(new Set(received.map(({ headers }) => headers['webhook-id'])).size, received.length, 'and each message once')
  for (const [bootId, text] of [['newer', '{"format":2}'], ['newerLeft', '{"format":2,"left":true}'], ['broken', 'x']] as const) await sick.redisLink.run((client) => client.set(parts.store.keys.totals(bootId), text, 'PX', 60_000))
  t.same([...await parts.store.left(['nobody', sick.appCluster.bootId, 'newer', 'newerLeft', 'broken'])], ['nobody', 'newerLeft'], 'who ended so long ago that it is forgotten is missed by nobody, and who says what cannot be read is')
})

t.test('what is bad in two reports in a row is an incident', async (t) => {
  const health = (status: 'ok' | 'degraded' | 'error', redis = 'up', instance = 'up'): Health => ({ status, checks: { instance: { status: instance, critical: true }, redis: { status: redis, critical: false }, disk: { status: status === 'ok' ? 'up' : 'down', critical: status === 'error' } } })
  const seen = (...reports: Health[]) => {
    const incidents = new Incidents(30_000)
    return reports.map((one, index) => {
      incidents.take(one, 60_000, index * 10_000)
      return Object.entries(incidents.read()).map(([name, { count, now, worst, ms }]) => `${name} ${count} ${now} ${worst} ${ms}`).join()
    })
  }
  const [ok, bad, worse] = [health('ok'), health('degraded'), health('error')]
  t.same(seen(ok, bad, ok, bad, ok), ['', '', '', '', ''])
  t.same(seen(ok, bad, bad, ok), ['', '', 'instance 1 degraded degraded 10000,disk 1 down down 10000', 'instance 1 up degraded 20000,disk 1 up down 20000'])
  t.same(seen(bad, worse, worse, bad, ok).map((text) => text.split(',')[0]), ['', 'instance 1 degraded degraded 10000', 'instance 1 down down 20000', 'instance 1 degraded down 30000', 'instance 1 up down 40000'])
  t.same(seen(bad, bad, ok, bad, bad).at(-1), 'instance 2 degraded degraded 10000,disk 2 down down 10000')
  t.same(seen(bad, bad, health('error', 'up', 'draining')).at(-1), 'instance 1 degraded degraded 10000,disk 1 down down 10000', 'taken out of service')
  t.match(seen(health('degraded', 'down'), health('degraded', 'down')).at(-1), /^instance 0 degraded/, 'without Redis nobody counts: it is told at once')
  const starting = new Incidents(30_000)
  for (const uptime of [1000, 11_000, 21_000]) starting.take(worse, uptime)
  t.same(starting.read(), {}, 'not ready yet')
  starting.take(worse, 31_000)
  t.match(starting.read(), { instance: { count: 1, now: 'down' } })
})

t.test('what is told follows from what is known and what is', async (t) => {
  const report = (instanceId: string, bootId: string, status: 'ok' | 'degraded' | 'error' = 'ok', { stopping = false, announcesLeaving = true, settled = true, count = 1 } = {}) => ({
    instanceId,
    bootId,
    serverId: 'web1',
    announcesLeaving,
    incidents: status === 'ok' && count === 1 ? {} : { instance: { count, now: !settled || status === 'ok' ? 'up' : status === 'error' ? 'down' : 'degraded', worst: 'degraded', ms: 5000 }, disk: { count, now: !settled || status === 'ok' ? 'up' : 'down', worst: 'down', ms: 5000 } },
    instance: { status: stopping ? 'stopping' : 'online', health: { status, checks: { disk: { status: status === 'ok' ? 'up' : 'down', critical: status === 'error' } } } }
  }) as unknown as Report
  /** Comparisons, 10 s apart, null for none, and the events of each. */
  const look = (...looks: Array<[reports: Report[], left?: string[]] | null>) => {
    let known: Known = NOTHING_KNOWN
    return looks.flatMap((one, index) => {
      if (one === null) return []
      const [reports, left = []] = one
      const seen = transitions(known, { reports, left: new Set(left) }, { now: 1e9 + index * 10_000, graceMs: 30_000 })
      known = seen.known
      return [seen.events.map(({ type, check, reason }) => [type, check, reason].filter(Boolean).join(' ')).sort().join()]
    })
  }
  const well = report('a', '1')
  t.same(look([[well]], [[]], [[]], [[report('a', '2')]], [[report('a', '2')]]), ['', 'down gone', '', 'up', ''], 'gone, and back')
  t.same(look([[well]], [[], ['1']], [[report('a', '2')]]), ['', '', ''], 'left, and back: a deploy')
  t.same(look([[well]], [[report('a', '2')]]), ['', ''], 'back before it was missed')
  t.same(look([[well]], null, null, null, null, [[]], [[]], [[]], [[]]), ['', '', '', '', 'down gone'], 'after an outage everybody is given time to report')
  t.same(look([[well]], null, [[]], [[]], [[]], [[]]), ['', '', '', '', 'down gone'], 'also after one that is shorter than reports live')
  const away = { reports: [], left: new Set<string>() }
  const times = { now: 1e9, graceMs: 30_000 }
  let { known } = transitions({ ...transitions(NOTHING_KNOWN, { ...away, reports: [well] }, times).known, resumedAt: 2e9, comparedAt: 2e9 }, away, times)
  for (const ms of [10_000, 20_000]) ({ known } = transitions(known, away, { ...times, now: 1e9 + ms }))
  t.match(transitions(known, away, { ...times, now: 1e9 + 30_000 }).events, [{ reason: 'gone' }], 'after the clock was set back too')
  t.same(look([[report('a', '1', 'ok', { announcesLeaving: false })]], [[]]), ['', ''], 'a release that does not say so')
  const degraded = report('a', '1', 'degraded')
  const unsettled = report('a', '1', 'degraded', { settled: false })
  t.same(look([[well]], [[unsettled]], [[well]], [[unsettled]], [[degraded]], [[degraded]], [[well]]), ['', '', '', '', 'degraded,down disk', '', 'up,up disk'], 'bad in two reports')
  const sick = report('a', '1', 'error')
  t.same(look([[degraded]], [[sick]], [[degraded]], [[well]]), ['degraded,down disk', 'down not ready', 'degraded', 'up,up disk'], 'worse, and better')
  t.same(look([[well]], [[report('a', '1', 'ok', { count: 2 })]], [[report('a', '1', 'ok', { count: 2 })]]), ['', 'degraded,down disk,up,up disk', ''], 'over before anybody looked')
  t.same(look([[degraded]], [[report('a', '1', 'ok', { count: 2 })]]), ['degraded,down disk', 'up,up disk'], 'over, and once more before anybody looked')
  t.same(look([[report('a', '1', 'ok', { count: 7 })]]), [''], 'what was before anybody looked')
  t.same(look([[sick]], [[report('a', '2', 'error', { settled: false })]], [[report('a', '2')]]), ['down disk,down not ready', '', 'up,up disk'], 'restarted while it is down')
  t.same(look([[sick]], [[]], [[report('a', '2')]]), ['down disk,down not ready', 'down gone', 'up,up disk'], 'killed while it is down')
  t.same(look([[sick]], [[report('a', '1', 'error', { stopping: true })]], [[], ['1']], [[]]), ['down disk,down not ready', '', 'up disk left,up left', ''], 'taken out of service')
  t.same(look([[sick]], [[report('a', '1', 'error', { stopping: true })]], [[report('a', '2')]]), ['down disk,down not ready', '', 'up,up disk'], 'replaced')
  const day = Array.from({ length: 8640 }, () => null)
  t.same(look([[well]], [[]], [[]], ...day, [[]], [[]]), ['', 'down gone', '', 'up forgotten', ''], 'gone for good: what was told ends after a day')
  t.same(look([[well, report('a', '2', 'error')]], [[report('a', '2', 'error'), well]], [[well]]), ['down disk,down not ready', '', 'up,up disk'], 'of two with one id the worse one')
})

t.test('who takes long to connect again after an outage is not missed, and one connection that breaks again and again hides nobody', async (t) => {
  const report = (instanceId: string) => ({ instanceId, bootId: instanceId, serverId: 's', announcesLeaving: true, incidents: {}, instance: { status: 'online', health: { status: 'ok', checks: {} } } }) as unknown as Report
  const graceMs = 30_000
  let known: Known = NOTHING_KNOWN
  const look = (now: number, ids: string[], isBack = false) => {
    const seen = transitions(known, { reports: ids.map(report), left: new Set() }, { now, graceMs, isBack })
    known = seen.known
    return seen.events.map(({ type, instanceId, reason }) => [type, instanceId, reason].join(' ').trim())
  }
  t.same(look(1_000_000, ['a', 'b', 'c']), [])
  t.same(look(1_014_000, ['a'], true), [], 'an outage of less than half of ttlMs: b and c connect again later')
  t.same(look(1_024_000, ['a', 'b'], true), [])
  t.same(look(1_034_000, ['a', 'b'], true), [], 'within ttlMs')
  t.same(look(1_045_000, ['a', 'b'], true), ['down c gone'], 'and not put off by what breaks again')
  t.same(look(1_055_000, ['a'], true), ['down b gone'])
  t.same(look(1_065_000, ['a', 'b', 'c']), ['up c', 'up b'])
})

t.test('a webhook that names a time is not tried again before it, and after a minute at the latest', async (t) => {
  const answers = ['7', '86400', 'Wed, 21 Oct 2037 07:28:00 GMT', '-5', 'x']
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(429, { 'retry-after': answers.shift() }).end()
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const webhook = new Webhook({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }, {}, { warn: () => {} } as never)
  const pauses: unknown[] = []
  while (answers.length > 0) pauses.push(await webhook.deliver({ id: 'one', at: 0, events: [{ type: 'down', subject: 'instance' }], attempts: 0, notBefore: 0 } as never))
  t.same(pauses, [7000, 60_000, 2000, 2000, 2000])
})

t.test('options of the webhook', async (t) => {
  const url = 'https://hooks.example/T0PSECRETPATH9'
  for (const [webhook, name] of [
    [{}, 'webhook.url'], [{ url: 'ftp://hooks.example/' }, 'webhook.url'], [{ url: 'https://ann:pw@hooks.example/' }, 'webhook.url'], [{ url, secret: 'short' }, 'webhook.secret'],
    [{ url, secret: 'whsec_no base64 at all' }, 'webhook.secret'], [{ url, attempts: 0 }, 'webhook.attempts'], [{ url, events: ['gone'] }, 'webhook.events'], [{ url, headers: [] }, 'webhook.headers'], [{ url, headers: new Headers({ authorization: 'x' }) }, 'webhook.headers'], [{ url, headers: { 'a b': 'x' } }, 'webhook.headers'], [{ url, headers: { authorization: 'a\nb' } }, 'webhook.headers'],
    [{ url, headers: { authorization: 5 } }, 'webhook.headers'], [{ url, headers: { 'Webhook-Id': 'x' } }, 'webhook.headers'], [{ url, headers: { authorization: 'T0PSECRET\u20ac' } }, 'webhook.headers'], [{ url, nonsense: 1 }, 'webhook.nonsense']
  ] as const) {
    t.throws(() => resolveOptions({ webhook } as never), { code: 'FST_ERR_CLUSTER_METRICS_INVALID_OPTION', message: new RegExp(`option ${name.replace('.', '\\.')}`) }, JSON.stringify(webhook))
  }
  t.equal(resolveOptions({ webhook: { url } }).webhook?.url, url)
  for (const none of [undefined, '']) t.equal(resolveOptions({ webhook: { url: none, headers: { authorization: undefined } } }).webhook, undefined, 'a variable of the environment that is not set')
})

/** An announcer on a Redis that holds one text. */
function announcerOn (t: Scope & { comment: (problem: object) => unknown }, given: { text: string, isUp?: boolean, replaces?: () => boolean, extend?: () => boolean }, own: object) {
  const delivered: Array<{ id: string, events: HealthEvent[] }> = []
  const kept = { text: given.text }
  const link = {
    isUp: true,
    key: (...parts: string[]) => parts.join(':'),
    run: async (ask: (client: object) => unknown) => ask({ get: () => kept.text, pexpire: () => 1 }),
    runScript: async (_script: object, { args }: { args: [string, string] }) => {
      if (given.replaces?.() === false) return 0
      kept.text = args[1]
      return 1
    },
    tryLock: async () => ({ extend: async () => given.extend?.() ?? true, release: async () => true })
  }
  const view = { reports: async () => [own as Report], own: () => own as Report, left: async () => new Set<string>(), now: () => 1, isSpeaker: () => true }
  const recipient = { name: 'slow', isPresent: true, timeoutMs: 5000, deliver: async (batch: { id: string, events: HealthEvent[] }) => { delivered.push(batch); return 'done' as const } }
  const announcer = new Announcer(recipient, link as never, view, { reportIntervalMs: 10_000, ttlMs: 30_000 }, { debug: (problem: object) => t.comment(problem) } as never)
  return { announcer, link, delivered, kept }
}

const stopping = { instanceId: 'x', bootId: 'x', serverId: 'x', instance: { status: 'stopping' } }
const event: HealthEvent = { type: 'down', subject: 'instance', instanceId: 'web1:0', serverId: 'web1', at: new Date(0).toISOString() }
const queued = (ids: string[], notBefore = 0) => `1 ${JSON.stringify({ format: 1, known: NOTHING_KNOWN, outbox: ids.map((id) => ({ id, at: 0, events: [event], attempts: 0, notBefore })) })}`

t.test('a process that has lost the lock delivers no more of what is queued', async (t) => {
  const { announcer, delivered, kept } = announcerOn(t, { text: queued(['a', 'b', 'c']), extend: () => delivered.length < 2 }, stopping)
  await announcer.run()
  t.same(delivered.map(({ id }) => id), ['a', 'b'])
  t.ok(kept.text.includes('"id":"c"'), 'the rest is somebody else\'s')
})

t.test('a message waits for its next attempt, and not for a clock that was set back', async (t) => {
  for (const [notBefore, count] of [[60_000, 0], [3600_000, 1]] as const) {
    const { announcer, delivered } = announcerOn(t, { text: queued(['a'], notBefore) }, stopping)
    await announcer.run()
    t.equal(delivered.length, count, `${notBefore}`)
  }
})

t.test('what was told while Redis was away is handed over until it has arrived, and not told again', async (t) => {
  const own = { ...stopping, incidents: { instance: { count: 1, now: 'degraded', worst: 'degraded', ms: 5 } }, instance: { status: 'online', health: { status: 'degraded', checks: {} } } }
  let isReplaced = true
  const { announcer, link, delivered, kept } = announcerOn(t, { text: queued([]), replaces: () => isReplaced }, own)
  const told = () => delivered.flatMap(({ events }) => events.map(({ type }) => type))
  link.isUp = false
  await announcer.run()
  t.same(told(), ['degraded'])
  link.isUp = true
  isReplaced = false
  await announcer.run()
  isReplaced = true
  await announcer.run()
  t.same(told(), ['degraded'])
  t.match(kept.text, /"announced":\{"\[\\"x\\"\]"/)
})
