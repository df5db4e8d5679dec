import { hostname } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Fastify from 'fastify'
import t from 'tap'
import { redisLink } from '@jpulse/redis-link'
import { waitFor } from '../../../test/helpers/index.ts'
import { clusterBroadcast, type AppCluster, type BroadcastMessage, type FastifyClusterBroadcastOptions } from '../src/index.ts'
import { placeOf, serverOf } from '../src/membership/identity.ts'
import { ReplayRules } from '../src/messages/replay-rules.ts'
import type { Claims } from '../src/once/once.ts'
import { Schedule } from '../src/schedule/schedule.ts'
import { memoryCluster } from '../src/testing/index.ts'
import { build } from './build.ts'

t.test('an event that there is not is refused', async (t) => {
  const { app: { appCluster } } = await build(t, {})
  const refused = (wanted: string) => ({ code: 'FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT', statusCode: 400, message: `The event must be ${wanted}` })
  t.throws(() => appCluster.on('joined' as 'join', () => {}), refused('one of join, leave, mode, gap, heartbeat'))
  t.throws(() => appCluster.leader('x').once('elect' as 'elected', () => {}), refused('one of elected, deposed'))
  t.throws(() => appCluster.schedule('x', '0 0 1 1 *', () => {}).on('miss' as 'missed', () => {}), refused('missed'))
})

t.test('without Redis the same API works within the process', async (t) => {
  const { app } = await build(t, {}, { serverId: 'web', pmId: '3' })
  const { appCluster } = app
  const { broadcast } = appCluster
  t.equal(appCluster.mode, 'local')
  t.equal(appCluster.instanceId, 'web:3')
  t.match(appCluster.bootId, /^[a-z2-7]{12}$/)
  t.match(appCluster.members(), [{ instanceId: 'web:3', serverId: 'web', bootId: appCluster.bootId, pid: process.pid, lastSeenMs: 0 }])
  t.equal(appCluster.members().length, 1)

  const got: BroadcastMessage[] = []
  const stop = await broadcast.subscribe('shop:*', (message) => { got.push(message); return message.data })
  const { id, delivered, timestamp } = await broadcast.publish('shop:order:new', { n: 1 })
  t.equal(delivered, 'local')
  t.same(got, [{ id, channel: 'shop:order:new', data: { n: 1 }, instanceId: 'web:3', bootId: appCluster.bootId, timestamp, self: true }])
  await broadcast.publish('view:config:refresh')
  await broadcast.publish('shop', 'not below shop:*')
  t.equal(got.length, 1)

  t.same(await broadcast.ask('shop:x', 5), { replies: [{ instanceId: 'web:3', bootId: appCluster.bootId, value: 5 }], missing: [] })
  await stop()
  t.same(await broadcast.ask('shop:x', 5), { replies: [{ instanceId: 'web:3', bootId: appCluster.bootId, value: undefined }], missing: [] })
  t.same(await Promise.all([1, 2].map((n) => broadcast.once('job', 200, async () => n))), [{ ran: true, value: 1 }, { ran: false, reason: 'claimed' }])
  await waitFor(async () => (await broadcast.once('job', 200, () => 3)).ran, { what: 'the claim to lapse' })
  await t.rejects(broadcast.once('fails', 200, () => { throw new Error('mine') }), { message: 'mine' })
  t.same(await broadcast.once('fails', 60_000, () => 1), { ran: false, reason: 'claimed' }, 'it was run, though it failed')
})

t.test('without Redis, close() ends who waits for a long once', async (t) => {
  const { app } = await build(t)
  const { broadcast } = app.appCluster
  let end!: () => void
  const first = broadcast.once('long', 3_600_000, () => new Promise<void>((resolve) => { end = resolve }))
  await waitFor(() => end !== undefined)
  const second = broadcast.once('long', 3_600_000, () => 2)
  await new Promise(setImmediate)
  await app.close()
  t.same(await second, { ran: false, reason: 'unavailable' })
  t.same(await broadcast.once('long', 1000, () => 3), { ran: false, reason: 'unavailable' })
  end()
  t.equal((await first).ran, true)
})

t.test('without Redis a process leads at once; whoever resigned stands anew when asked again', async (t) => {
  const { app } = await build(t)
  const leader = app.appCluster.leader('jobs')
  const told: unknown[] = []
  leader.on('elected', (token) => { told.push(token) })
  leader.on('deposed', () => { told.push('deposed') })
  t.equal(app.appCluster.leader('jobs', { leaseMs: 500 }), leader)
  await waitFor(() => leader.isLeader)
  const { token } = leader
  t.same(told, [token])
  await leader.resign()
  t.same([leader.isLeader, leader.token, told], [false, null, [token, 'deposed']])
  const next = app.appCluster.leader('jobs')
  await waitFor(() => next.isLeader)
  for (const [name, leaseMs] of [['', 1000], ['x'.repeat(1025), 1000], ['a', 499], ['a', 1.5], ['a', Infinity]] as const) {
    t.throws(() => app.appCluster.leader(name, { leaseMs }), { code: 'FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT' })
  }
  let again = next
  next.on('deposed', () => { again = app.appCluster.leader('other') })
  await app.close()
  await again.stand()
  t.same([again === next, again.isLeader], [false, false], 'nor does who stands again while the application closes')
  const late = app.appCluster.leader('late')
  await late.stand()
  t.equal(late.isLeader, false, 'a closed application leads nothing')
  t.equal(app.appCluster.schedule('late', '* * * * *', () => {}).next, null)
})

t.test('who resigned while it renewed and stands anew is elected anew: no two lead, and nobody warns of many listeners', async (t) => {
  const cluster = memoryCluster()
  const warnings: Error[] = []
  const onWarning = (warning: Error) => { warnings.push(warning) }
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const [one, other] = await Promise.all(['1', '2'].map(async (pmId) => (await build(t, {}, { cluster, serverId: 'test', pmId })).app.appCluster)) as [AppCluster, AppCluster]
  const before = one.leader('jobs')
  await waitFor(() => before.isLeader)
  const rival = other.leader('jobs')
  await rival.stand()
  const token = before.token!
  const renewal = before.stand()
  const resigned = before.resign()
  const after = one.leader('jobs')
  await Promise.all([renewal, resigned])
  await rival.stand()
  t.same([before.isLeader, after.isLeader, rival.isLeader], [false, false, true])
  t.ok(rival.token! > token)
  const timetable = one.schedule('many', '0 0 1 1 *', () => {})
  for (let plugin = 0; plugin < 12; plugin++) {
    one.leader('jobs').on('elected', () => {})
    timetable.on('missed', () => {})
  }
  await new Promise(setImmediate)
  t.same(warnings, [])
})

t.test('a timetable: patterns and time zones are checked, what it runs may fail, and it ends', async (t) => {
  const { app, complaints } = await build(t)
  const { appCluster } = app
  const ticks: Date[] = []
  const schedule = appCluster.schedule('every second', '* * * * * *', (at) => {
    ticks.push(at)
    throw new Error('mine')
  }, { graceMs: 0 })
  await waitFor(() => ticks.length === 2)
  t.ok(ticks.every((at) => at.getMilliseconds() === 0))
  schedule.stop()
  t.equal(schedule.next, null)
  t.same(complaints, Array(2).fill('what a timetable runs failed'))
  const yearly = appCluster.schedule('yearly', '0 12 1 1 *', () => {}, { timeZone: 'Asia/Tokyo' })
  t.equal(yearly.next?.getUTCHours(), 3)
  const code = 'FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT'
  for (const pattern of ['', 'often', '61 * * * *', '* * * *', 5, '0 0 0 1 1 * 2030', '2099-01-01T00:00:00', new Date(Date.now() + 60_000), '0 0 31 2 *']) t.throws(() => appCluster.schedule('a', pattern as string, () => {}), { code }, String(pattern))
  for (const timeZone of ['Moon/North', '', 5]) t.throws(() => appCluster.schedule('a', '* * * * *', () => {}, { timeZone: timeZone as string }), { code })
  for (const graceMs of [-1, 0.5, 600_001]) t.throws(() => appCluster.schedule('a', '* * * * *', () => {}, { graceMs }), { code })
  t.throws(() => appCluster.schedule('', '* * * * *', () => {}), { code })
  t.throws(() => appCluster.schedule('a', '* * * * *', 'fn' as never), { code })
  t.throws(() => appCluster.schedule('yearly', '0 13 1 1 *', () => {}), { code, message: /^The name of a timetable must be one/ })
  const again = appCluster.schedule('every second', '0 0 1 1 *', () => {})
  t.type(again.next, Date, 'a name is free when its timetable was stopped')
  await app.close()
  t.equal(yearly.next, null)
})

t.test('a timetable follows a clock that is set, ahead and back, and a machine that slept', async (t) => {
  const { app } = await build(t)
  const { now } = Date
  t.teardown(() => { Date.now = now })
  const ran: number[] = []
  const schedule = app.appCluster.schedule('yearly', '0 12 1 1 *', (at) => { ran.push(at.getTime()) })
  const first = schedule.next!.getTime()
  const ahead = first - now()
  Date.now = () => now() + ahead
  await waitFor(() => ran.length === 1)
  t.same(ran, [first])
  t.ok(schedule.next!.getTime() > first)
  Date.now = now
  await waitFor(() => schedule.next!.getTime() === first, { what: 'the next tick of the clock that was set back' })
})

t.test('ticks that went by while the process stood still are told as one, with the last and how many, and none is lost between them and those that are run', async (t) => {
  const { app, complaints } = await build(t)
  const { now } = Date
  t.teardown(() => { Date.now = now })
  for (const [sleptMs, counted] of [[100_500, undefined], [8 * 3_600_000 + 500, 1000]] as const) {
    const ran: number[] = []
    const missed: Array<[at: number, last: number, count: number]> = []
    const schedule = app.appCluster.schedule(`slept ${sleptMs}`, '* * * * * *', (at) => { ran.push(at.getTime()) }, { graceMs: 2000 })
    schedule.on('missed', (at, { last, count }) => { missed.push([at.getTime(), last.getTime(), count]) })
    const first = schedule.next!.getTime()
    Date.now = () => now() + sleptMs
    await waitFor(() => ran.length > 0)
    schedule.stop()
    Date.now = now
    t.equal(missed.length, 1)
    const [at, last, count] = missed[0]!
    t.equal(at, first)
    t.equal(last + 1000, Math.min(...ran), 'the next is run')
    t.equal(count, counted ?? (last - at) / 1000 + 1)
    t.ok(count > 90)
  }
  t.same(complaints, Array(2).fill('ticks of a timetable were skipped'))
})

t.test('who waits for a tick that another has asks less and less often', async (t) => {
  const pauses: number[] = []
  const held: Claims = {
    take: async () => ({ state: 'running', leftMs: 60_000, holder: 'another' }),
    wait: async (_name, ms) => { if (pauses.push(ms) === 7) schedule.stop() },
    giveBack: async () => {},
    forgo: async () => {},
    done: async () => {},
    close: () => {}
  }
  const { app } = await build(t)
  const schedule: Schedule = new Schedule('jobs', '* * * * * *', () => t.fail('must not run'), {}, held, app.log)
  await waitFor(() => schedule.isStopped)
  t.same(pauses.slice(0, 7), [500, 1000, 2000, 4000, 8000, 10_000, 10_000])
})

t.test('handlers: one throws, one rejects, one mutates its data, one publishes; the others get theirs', async (t) => {
  const { app, complaints } = await build(t)
  const { broadcast } = app.appCluster
  const got: unknown[] = []
  broadcast.subscribe('a:b', () => { throw new Error('thrown') })
  broadcast.subscribe('a:b', async () => { throw new Error('rejected') })
  broadcast.subscribe('a:b', () => { throw Object.create(null) })
  broadcast.subscribe('a:b', () => Promise.reject(Object.create(null)))
  broadcast.subscribe<{ list: number[] }>('a:b', ({ data }) => { data.list.push(2) })
  broadcast.subscribe('a:b', ({ data }) => { got.push(data) })
  broadcast.subscribe('a:b', ({ data }) => { got.push(data) }, { omitSelf: true })
  const sent = { list: [1] }
  const publishing = broadcast.publish('a:b', sent)
  sent.list.push(9)
  await publishing
  t.same(got, [{ list: [1] }], 'a copy of what was published, its own')
  await waitFor(() => complaints.length === 4)
  t.same([...new Set(complaints)], ['a handler of a message failed'])

  let rounds = 0
  const both = async () => { if (++rounds < 2000) await broadcast.publish('ping:pong') }
  broadcast.subscribe('ping:pong', both)
  await broadcast.publish('ping:pong')
  await waitFor(() => rounds === 2000, { what: 'a handler that publishes, neither overflowing the stack nor starving the process' })
})

t.test('one handler with overlapping subscriptions gets a message once, and unsubscribing ends it at once', async (t) => {
  const { app } = await build(t)
  const { broadcast } = app.appCluster
  const got: string[] = []
  const handler = ({ channel }: BroadcastMessage): void => { got.push(channel) }
  const stops = await Promise.all([broadcast.subscribe('a:b', handler), broadcast.subscribe('a:*', handler), broadcast.subscribe('*', handler), broadcast.subscribe('a:b', handler, { omitSelf: true })])
  await broadcast.publish('a:b')
  t.same(got, ['a:b'])
  for (const stop of stops.slice(0, 3)) stop()
  await broadcast.publish('a:b')
  t.same(got, ['a:b'], 'what is left skips what this process sends')
  await stops[3]!()
  t.same(app.appCluster.status().subscriptions, [])
})

t.test('names: what the grammar does not allow is refused, never changed', async (t) => {
  const { app } = await build(t)
  const { broadcast } = app.appCluster
  const long = 'x'.repeat(100)
  const good = ['a', 'a:b', 'A-1_2.x@y%20:z', Array(16).fill(long).join(':')]
  for (const name of good) {
    const got: string[] = []
    await broadcast.subscribe(name, ({ channel }) => { got.push(channel) })
    await broadcast.publish(name, 1)
    t.same(got, [name])
  }
  const bad = ['', ':', 'a:', ':a', 'a::b', 'a b', 'a\n', 'ä', 'a/b', 'a:*', 'a*', '{a}', `${long}x`, Array(17).fill('a').join(':'), 5, null, undefined, {}, ['a']]
  for (const name of bad) {
    await t.rejects(broadcast.publish(name as string, 1), { code: 'FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL', statusCode: 400 }, JSON.stringify(name))
    await t.rejects(broadcast.ask(name as string, 1), { code: 'FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL' })
  }
  for (const pattern of ['a:*:b', 'a*', '**', 'a:**', '*:a', '', 'a:', 7]) {
    await t.rejects(broadcast.subscribe(pattern as string, () => {}), { code: 'FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL' }, String(pattern))
  }
})

t.test('reserved names are the plugins\', through their handle only', async (t) => {
  const { app } = await build(t)
  const { appCluster } = app
  const everything: string[] = []
  await appCluster.broadcast.subscribe('*', ({ channel }) => { everything.push(channel) })
  for (const prefix of ['jp', 'ws', 'cache', 'session', 'metrics', 'cluster'] as const) {
    for (const name of [prefix, `${prefix}:x`]) {
      await t.rejects(appCluster.broadcast.publish(name, 1), { code: 'FST_ERR_CLUSTER_BROADCAST_RESERVED_CHANNEL', statusCode: 403 })
      await t.rejects(appCluster.broadcast.subscribe(name, () => {}), { code: 'FST_ERR_CLUSTER_BROADCAST_RESERVED_CHANNEL' })
    }
    await t.rejects(appCluster.broadcast.subscribe(`${prefix}:*`, () => {}), { code: 'FST_ERR_CLUSTER_BROADCAST_RESERVED_CHANNEL' })
    const handle = appCluster.internal(prefix)
    const got: unknown[] = []
    await handle.subscribe(`${prefix}:*`, ({ data }) => { got.push(data) })
    await handle.subscribeJson(`${prefix}:x`, ({ data }) => { got.push(data) })
    await handle.publish(`${prefix}:x`, { n: 1 })
    await handle.publishJson(`${prefix}:x`, '{"n":2}', { replay: false })
    t.same(got, ['{"n":1}', { n: 1 }, '{"n":2}', { n: 2 }])
    await t.rejects(handle.publish('shop:x', 1), { code: 'FST_ERR_CLUSTER_BROADCAST_RESERVED_CHANNEL' })
    await t.rejects(handle.publishJson(`${prefix}:x`, '1\n2'), { code: 'FST_ERR_CLUSTER_BROADCAST_INVALID_DATA' })
  }
  await appCluster.broadcast.publish('wsx:y', 1)
  t.same(everything, ['wsx:y'], 'a lone * hears applications only')
})

t.test('data: JSON up to the limit, byte by byte; anything else is refused', async (t) => {
  const { app } = await build(t, {}, { maxMessageBytes: 100 })
  const { broadcast } = app.appCluster
  const got: unknown[] = []
  await broadcast.subscribe('a', ({ data }) => { got.push(data) })
  const values = [null, 0, '', 'ä'.repeat(49), 'x'.repeat(98), [], { __proto__: null, a: '\u2028\n"' }, true, '\ud800']
  for (const value of values) await broadcast.publish('a', value)
  t.same(got, JSON.parse(JSON.stringify(values)))
  for (const value of ['x'.repeat(99), 'ä'.repeat(50)]) await t.rejects(broadcast.publish('a', value), { code: 'FST_ERR_CLUSTER_BROADCAST_MESSAGE_TOO_LARGE', statusCode: 413 })
  const cycle: Record<string, unknown> = {}
  cycle.self = cycle
  for (const value of [cycle, 1n, () => {}, Symbol('x'), new Map([[1, 2]]), { roles: [new Set(['a'])] }, new Error('x'), { toJSON () { throw new Error('no') } }]) {
    await t.rejects(broadcast.publish('a', value), { code: 'FST_ERR_CLUSTER_BROADCAST_INVALID_DATA', statusCode: 400 })
  }
  t.equal(got.length, values.length)
})

t.test('arguments that are not what a method takes are errors', async (t) => {
  const { app } = await build(t)
  const { broadcast } = app.appCluster
  const code = 'FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT'
  await t.rejects(broadcast.subscribe('a', 'handler' as never), { code })
  await broadcast.subscribe('map', () => new Map([[1, 2]]))
  t.match((await broadcast.ask('map')).replies, [{ error: /the answer cannot be sent: a Map has no JSON form/ }])
  for (const timeoutMs of [0, -1, 1.5, NaN, Infinity, '5']) await t.rejects(broadcast.ask('a', 1, { timeoutMs: timeoutMs as number }), { code })
  for (const ttlMs of [0, -1, NaN, Infinity, undefined]) await t.rejects(broadcast.once('a', ttlMs as number, () => {}), { code })
  for (const name of ['', 'x'.repeat(1025), 5]) await t.rejects(broadcast.once(name as string, 5, () => {}), { code })
  await t.rejects(broadcast.once('a', 5, 'fn' as never), { code })
})

t.test('options of calls: a name that means nothing is an error, and so is what has no names', async (t) => {
  const { appCluster } = (await build(t)).app
  const code = 'FST_ERR_CLUSTER_BROADCAST_INVALID_OPTION'
  t.throws(() => appCluster.schedule('a', '0 3 * * *', () => {}, { timezone: 'Europe/Berlin' } as object), { code, message: /timezone is unknown/ })
  for (const options of [{ lease: 5 }, new Map([['leaseMs', 500]]), null]) t.throws(() => appCluster.leader('a', options as object), { code })
  await t.rejects(appCluster.broadcast.ask('a', 1, { timeout: 5 } as object), { code, message: /timeout is unknown/ })
  await t.rejects(appCluster.broadcast.subscribe('a', () => {}, { omitself: true } as object), { code })
})

t.test('options are checked at register, and a bad one is named', async (t) => {
  const bad: Array<[object, RegExp]> = [
    [{ serverId: 'a b' }, /serverId/], [{ pmId: '' }, /pmId/], [{ maxMessageBytes: 0 }, /maxMessageBytes/], [{ replay: true }, /replay/],
    [{ replay: { maxLength: 0 } }, /replay/], [{ replay: { max: 1 } }, /replay/], [{ channels: { 'a:*': { replay: false } } }, /channels/],
    [{ channels: { a: {} } }, /channels/], [{ heartbeatMs: 1 }, /heartbeatMs/], [{ leaseMs: 2000 }, /leaseMs/], [{ authorize: true }, /authorize/],
    [{ routePrefix: 'api' }, /routePrefix/], [{ unheardOf: 1 }, /unheardOf is unknown/], [{ prefix: '/x', nonsense: 1 }, /nonsense|prefix/]
  ]
  for (const [options, message] of bad) {
    const app = Fastify()
    t.teardown(() => app.close())
    app.register(redisLink)
    app.register(clusterBroadcast, options as FastifyClusterBroadcastOptions)
    await t.rejects(async () => { await app.ready() }, { code: 'FST_ERR_CLUSTER_BROADCAST_INVALID_OPTION', message }, JSON.stringify(options))
  }
  await t.rejects(async () => { await Fastify().register(clusterBroadcast) }, /redis-link/)
})

t.test('of prefixes that a channel lies under the longest says whether it is logged', async (t) => {
  const rules = (replay: boolean, channels: Record<string, boolean | 'own'>) =>
    new ReplayRules(replay, Object.fromEntries(Object.entries(channels).map(([prefix, replay]) => [prefix, { replay }])))
  const names = ['a', 'ab', 'a:b', 'a:b:c', 'a:bc', 'x']
  const of = (one: ReplayRules): unknown[] => names.map((name) => one.of(name).replay)
  t.same(of(rules(true, {})), [true, true, true, true, true, true])
  t.same(of(rules(true, { a: false, 'a:b': true })), [false, true, true, true, false, true])
  t.same(of(rules(true, { 'a:b': true, a: false })), [false, true, true, true, false, true], 'in whatever order')
  t.same(of(rules(false, { a: true, 'a:b': false, 'a:b:c': 'own' })), [true, false, false, 'own', true, false])
  t.same(rules(true, { a: 'own', 'a:b': false, x: 'own' }).own.sort(), ['a', 'x'])
})

t.test('identity comes from the options, else the environment, else the hostname', async (t) => {
  const ids = (env: NodeJS.ProcessEnv, host: string, groups = '', named = '') => {
    const { server, process } = placeOf(env, host, groups, named)
    return `${server}:${process}`
  }
  const pod = { KUBERNETES_SERVICE_HOST: '10.0.0.1' }
  t.same(['x2v9q', 'x2v97', 'k4t97', '8zzzz'].map((end) => ids(pod, `shop-7d9f8b6c5d-${end}`)), ['x2v9q', 'x2v97', 'k4t97', '8zzzz'].map((end) => `shop-7d9f8b6c5d-${end}:0`), 'pods of one Deployment')
  t.equal(ids({ ...pod, NODE_NAME: 'node-a', POD_NAME: 'shop-0' }, 'x'), 'node-a:shop-0', 'grouped by the node, where it is known')
  t.same(['x2v9q', 'x2v97'].map((end) => ids(pod, `shop-7d-${end}`, '', 'web')), ['web:shop-7d-x2v9q', 'web:shop-7d-x2v97'], 'pods of one Deployment with one SERVER_ID')
  t.equal(ids({ ...pod, POD_NAME: 'shop-0' }, 'x', '', 'shop-0'), 'shop-0:0', 'a SERVER_ID that is the name of the pod')
  for (const length of [62, 63, 64, 100]) {
    const ends = ['x2v9q', 'x2v97'].map((end) => `${'shop-'.repeat(20).slice(0, length - end.length)}${end}`)
    const all = ends.flatMap((host) => ['0', '12'].flatMap((worker) => [ids({ ...pod, NODE_APP_INSTANCE: worker }, host), ids({ ...pod, NODE_APP_INSTANCE: worker }, host, '', 'web')]))
    t.equal(new Set(all).size, 8, `pods and workers whose names have ${length} characters are told apart`)
    for (const id of all) t.match(id, /^[\w.-]{1,64}:[\w.-]{1,64}$/)
  }
  t.same(['3f2b1c0d9e89', '4f2b1c0d9e89'].map((host) => ids({}, host)), ['3f2b1c0d9e89:0', '4f2b1c0d9e89:0'], 'containers')
  t.same(['1', '2'].map((unit) => ids({}, 'web25', `0::/system.slice/system-shop.slice/shop@${unit}.service`)), ['025:1', '025:2'], 'instances of a unit')
  t.equal(ids({}, 'web25', '0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope'), '025:0')
  t.equal(ids({ NODE_APP_INSTANCE: '3' }, 'web25', '0::/system.slice/pm2-ann.service'), '025:3')
  t.equal(ids({ NODE_APP_INSTANCE: '', pm_id: '4' }, 'web25'), '025:4', 'set, and empty')
  t.same(['web25', 'host1025', 'a-very-long-name.example', 'web7.'].map(serverOf), ['025', '1025', 'a-very-long-', 'web7.'])
  const saved = { ...process.env }
  t.teardown(() => { process.env = saved })
  for (const name of ['SERVER_ID', 'NODE_APP_INSTANCE', 'pm_id']) delete process.env[name]
  const lone = await build(t)
  t.equal(lone.app.appCluster.instanceId, `${serverOf(hostname())}:0`)
  t.same(lone.complaints, [])
  Object.assign(process.env, { SERVER_ID: 'env', pm_id: '4' })
  t.equal((await build(t)).app.appCluster.instanceId, 'env:4')
  process.env.NODE_APP_INSTANCE = '5'
  const sibling = await build(t)
  t.equal(sibling.app.appCluster.instanceId, 'env:5')
  t.match(sibling.complaints, [/one of several.*every once and schedule.*REDIS_URL/])
  t.equal((await build(t, {}, { serverId: 'given' })).app.appCluster.serverId, 'given')
})

t.test('applications that share a memory cluster are members of one', async (t) => {
  const cluster = memoryCluster()
  const add = async (pmId: string) => (await build(t, {}, { cluster, serverId: 'test', pmId })).app
  const [first, second, third] = [await add('1'), await add('2'), await add('3')]
  const all = [first, second, third].map(({ appCluster }) => appCluster)
  t.same(all.map((one) => [one.mode, one.members().length]), Array(3).fill(['cluster', 3]))

  const got: unknown[] = []
  for (const [index, { broadcast }] of all.entries()) await broadcast.subscribe('n', ({ data, self }) => { got.push([index, data, self]) })
  const published = await Promise.all([1, 2].map((n) => all[0]!.broadcast.publish('n', n)))
  t.same(published.map(({ delivered }) => delivered), ['cluster', 'cluster'])
  t.same(got, [[0, 1, true], [0, 2, true], [1, 1, false], [2, 1, false], [1, 2, false], [2, 2, false]])
  await all[1]!.broadcast.subscribe('asked', ({ data }) => ({ twice: Number(data) * 2 }))
  const { replies, missing } = await all[0]!.broadcast.ask('asked', 4)
  t.same(replies.map(({ instanceId, ...rest }) => [instanceId, 'value' in rest && rest.value]).toSorted(), [['test:1', undefined], ['test:2', { twice: 8 }], ['test:3', undefined]])
  t.same(missing, [])

  const ran = await Promise.all(all.map(({ broadcast }) => broadcast.once('work', 60_000, () => 'done')))
  t.same(ran.filter(({ ran }) => ran).length, 1)
  const ticks: number[] = []
  for (const one of all) one.schedule('ticks', '* * * * * *', (at) => { ticks.push(at.getTime()) })
  await waitFor(() => ticks.length >= 2)
  t.equal(new Set(ticks).size, ticks.length)

  const leaders = all.map((one) => one.leader('jobs'))
  await waitFor(() => leaders.some(({ isLeader }) => isLeader))
  const token = leaders[0]!.token!
  t.same(leaders.map(({ isLeader }) => isLeader), [true, false, false])
  const left = new Promise((resolve) => { all[1]!.once('leave', resolve) })
  await first.close()
  t.match(await left, { instanceId: 'test:1' })
  await waitFor(() => leaders[1]!.isLeader || leaders[2]!.isLeader)
  t.ok((leaders[1]!.token ?? leaders[2]!.token)! > token)
  t.same(all[1]!.members().map(({ instanceId }) => instanceId), ['test:2', 'test:3'])
  await t.rejects(build(t, { url: 'redis://127.0.0.1:1', connectTimeoutMs: 1 }, { cluster }), { code: 'FST_ERR_CLUSTER_BROADCAST_INVALID_OPTION', message: /cluster/ })
  await t.rejects(build(t, {}, { cluster: {} as never }), { code: 'FST_ERR_CLUSTER_BROADCAST_INVALID_OPTION', message: /memoryCluster/ })

  let end: (() => void) | undefined
  const long = all[1]!.broadcast.once('long', 3_600_000, () => new Promise<void>((resolve) => { end = resolve }))
  await waitFor(() => end)
  const waiting = all[2]!.broadcast.once('long', 3_600_000, () => {})
  await new Promise(setImmediate)
  await third.close()
  t.same(await waiting, { ran: false, reason: 'unavailable' })
  end!()
  t.equal((await long).ran, true)
})

t.test('of leaders that resigned and timetables that were stopped nothing is kept', async (t) => {
  const { app: { appCluster } } = await build(t)
  const ended = await Promise.all(Array.from({ length: 20 }, async (_, n) => {
    const [schedule, leader] = [appCluster.schedule(`s${n}`, '0 0 1 1 *', () => {}), appCluster.leader(`l${n}`)]
    schedule.stop()
    await leader.resign()
    return [new WeakRef(schedule), new WeakRef(leader)]
  }))
  appCluster.schedule('next', '0 0 1 1 *', () => {})
  appCluster.leader('next')
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  await waitFor(() => {
    collect()
    return ended.flat().every((one) => one.deref() === undefined)
  }, { everyMs: 100 })
})

t.test('two processes that bear one instanceId are told of where both stay, and not where one replaces the other', async (t) => {
  const cluster = memoryCluster()
  const start = (pmId: string) => build(t, {}, { serverId: 'web', pmId, cluster, heartbeatMs: 100, leaseMs: 300 })
  const [old] = [await start('1'), await start('2')]
  const replacement = await start('1')
  t.same(replacement.app.appCluster.duplicates(), ['web:1'], 'known at once')
  await old.app.close()
  // Their pair is younger than the one that is over.
  const twin = await start('2')
  const told = ({ complaints }: { complaints: string[] }) => complaints.filter((line) => /one instanceId/.test(line)).length
  await waitFor(() => told(twin) === 1 && told(replacement) === 1, { what: 'the twins to be told of', timeoutMs: 20_000 })
  t.same([told(old), told(twin), told(replacement)], [0, 1, 1])
  t.same(replacement.app.appCluster.duplicates(), ['web:2'])
})
