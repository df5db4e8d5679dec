import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { redisBinaries } from '../../../scripts/servers/binaries.js'
import { startRedis } from '../../../scripts/servers/redis.js'
import { connect, redisServer, sharedRedis, temporaryFolder, uniqueName } from '../../../test/helpers/index.ts'
import { Keys } from '../../redis-sessions/src/stores/redis/keys.ts'
import type { RedisNeeds } from '../src/acl.ts'
import { unknownCommands } from '../src/permissions.ts'
import { defineScript, LEASE_LUA, reply, type RedisClient, type Script } from '../src/index.ts'
import { build, rejection } from './build.ts'

const PACKAGES = fileURLToPath(new URL('../../', import.meta.url))

/** Every script that a package declares: where its sources speak of Redis commands, its modules are asked. */
async function scriptsOf (name: string): Promise<Array<Script<unknown>>> {
  const src = join(PACKAGES, name, 'src')
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts') && readFileSync(join(src, file), 'utf8').includes('redis.call('))
  const modules = await Promise.all(files.map((file) => import(join(src, file)) as Promise<Record<string, unknown>>))
  return modules.flatMap((module) => Object.values(module)).filter(isScript)
}

function isScript (value: unknown): value is Script<unknown> {
  return typeof (value as Script<unknown> | null)?.lua === 'string'
}

/** The highest number that a script asks for, `Infinity` where it takes all that follows. */
function highest (lua: string, list: 'KEYS' | 'ARGV'): number {
  return Math.max(0, ...[...lua.matchAll(new RegExp(`${list}\\[(\\d+)\\]`, 'g'))].map(([, number]) => Number(number)))
}

t.test('every script of every package is read by every server at hand, and takes what it declares', async (t) => {
  const all = (await Promise.all(readdirSync(PACKAGES).map(scriptsOf))).flat()
  t.ok(all.length > 3, `${all.length} scripts`)
  t.equal(new Set(all.map(({ name }) => name)).size, all.length, 'no two of one name')
  for (const { name, keys, args, lua } of all) {
    t.match(name, /^[a-z]+[A-Za-z]+V\d+$/)
    for (const [list, names] of [['KEYS', keys], ['ARGV', args]] as const) {
      t.ok(highest(lua, list) <= names.length, `${name} uses no undeclared ${list}`)
      t.notOk(names.slice(0, -1).some((one) => one.startsWith('...')), 'only the last may be many')
    }
  }
  for (const binary of redisBinaries()) {
    const server = await startRedis({ binary, dir: temporaryFolder(t) })
    t.teardown(() => server.process.stop('SIGKILL'))
    const client = connect(t, server.port)
    const version = /^(?:redis|valkey)_version:.*$/m.exec(await client.info('server'))?.[0].trim()
    for (const { name, lua } of all) t.match(await client.script('LOAD', lua), /^[0-9a-f]{40}$/, `${name} on ${version}`)
  }
})

t.test('no script ends half way where the user may not publish', async (t) => {
  const all = (await Promise.all(readdirSync(PACKAGES).map(scriptsOf))).flat()
  for (const { name, lua } of all) {
    const [, ...after] = lua.split("redis.call('PUBLISH'")
    t.same(after.flatMap((text) => text.match(/redis\.p?call\('\w+'/g) ?? []), [], `${name} has done everything before its PUBLISH, or catches what it answers`)
  }
})

const COMMANDS = new Set(new Redis({ lazyConnect: true }).getBuiltinCommands())

/** What a client is asked by itself, as ACL rules name it, but for what every user may. */
function callsIn (text: string): string[] {
  return [...text.matchAll(/\b(?:client|node)\.([a-zA-Z]+)\((?:'([A-Z]+)')?/g)].map(([, method = '', word = '']) => {
    const name = method === 'call' ? word : method.replace(/Buffer$/, '')
    return (name === 'script' ? `${name}|${word}` : name).toLowerCase()
  }).filter((rule) => COMMANDS.has(rule.split('|')[0]!) && !['hello', 'quit'].includes(rule))
}

t.test('every command of a package, in its scripts and by itself, is among its declared needs', async (t) => {
  for (const name of readdirSync(PACKAGES)) {
    const src = join(PACKAGES, name, 'src')
    const declared = (await scriptsOf(name)).map(({ lua }) => lua)
    const sources = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts')).map((file) => readFileSync(join(src, file), 'utf8'))
    const texts = declared.length > 0 ? declared : sources
    const called = new Set(texts.flatMap((text) => [...text.matchAll(/redis\.p?call\('([A-Z]+)'/g)].map(([, command]) => command!.toLowerCase())))
    if (called.size === 0) continue
    for (const rule of sources.flatMap(callsIn)) called.add(rule)
    const { redisNeeds } = JSON.parse(readFileSync(join(PACKAGES, name, 'package.json'), 'utf8')) as { redisNeeds?: RedisNeeds }
    if (redisNeeds !== undefined) t.same(unknownCommands(redisNeeds), [], `the boot asks about each of ${name}`)
    t.same([...called].filter((command) => redisNeeds?.commands.includes(command) !== true), [], name)
  }
})

t.test('the keys of sessions are among their declared needs, also of a registration with a name', async (t) => {
  const { redisNeeds } = JSON.parse(readFileSync(join(PACKAGES, 'redis-sessions/package.json'), 'utf8')) as { redisNeeds: RedisNeeds }
  for (const realm of ['', 'admin']) {
    const keys = new Keys((...parts) => ['<site>', ...parts].join(':'), realm)
    const ref = { tag: 't', hash: 'h', owned: true }
    const all = [keys.session(ref), keys.session({ ...ref, owned: false }), keys.index('t'), keys.notices('t'), keys.replaced(ref), keys.watermark('t'), keys.backup('dirty')]
    t.same(all.filter((key) => !redisNeeds.keys.some((pattern) => key.startsWith(pattern.slice(0, -1)))), [], realm)
  }
})

const append = defineScript({
  name: 'redisLinkTestAppendV1',
  keys: ['list'],
  args: ['first', '...more'],
  reply: reply<[length: number, items: string[]]>(),
  lua: 'return { redis.call(\'RPUSH\', KEYS[1], unpack(ARGV)), redis.call(\'LRANGE\', KEYS[1], 0, -1) }'
})
const bytes = defineScript({ name: 'redisLinkTestBytesV1', keys: [], args: ['text'], reply: reply<Buffer>('buffers'), lua: 'return ARGV[1]' })
const join2 = defineScript({ name: 'redisLinkTestKeysV1', keys: ['first', '...more'], args: [], reply: reply<string>(), lua: 'return table.concat(KEYS, \' \')' })

async function scriptSuite (t: Test, link: Awaited<ReturnType<typeof build>>['app']['redisLink']): Promise<void> {
  const key = link.key('list')
  t.same(await link.runScript(append, { keys: [key], args: ['a', 1] }), [2, ['a', '1']])
  t.same(await link.runScript(bytes, { keys: [], args: [Buffer.from([0xff, 0])] }), Buffer.from([0xff, 0]))
  t.equal(await link.runScript(join2, { keys: ['x', 'y', 'z'], args: [] }), 'x y z')
  await link.run((client) => client.script('FLUSH'))
  const orders = await Promise.all(Array.from({ length: 10 }, (_, n) => link.runScript(append, { keys: [key], args: [n] })))
  t.same(orders.map(([length]) => length).sort((a, b) => a - b), [3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 'a server that forgot the scripts gets them again')
  const answers = await link.runAll([
    (client) => client.set(link.key('a'), 1),
    (_client, call) => call(append, { keys: [link.key('other')], args: ['x'] }),
    (client) => client.get(link.key('a'))
  ])
  t.same(answers, ['OK', [1, ['x']], '1'])
  await link.run((client) => client.script('FLUSH'))
  t.same(await link.runAll([(_client, call) => call(append, { keys: [link.key('other')], args: ['y'] })]), [[2, ['x', 'y']]], 'in a batch too')
  t.match((await rejection(link.runAll([(client) => client.get('a'), (client) => client.incr(key)]))).message, /WRONGTYPE/)
  t.same(await link.runAll([(client) => { client.set(link.key('a'), 2) }, (client) => { client.get(link.key('a')) }]), ['OK', '2'], 'whatever the functions return')
  const failing = (client: RedisClient) => client.incr(key)
  t.match((await rejection(link.runAll([failing, async (client) => { await failing(client) }, () => { throw new Error('as asked') }, failing]))).message, 'as asked')
  // A function that fails by itself keeps no other from being sent, and is no rejection that nobody handles.
  for (const fails of [() => { throw new Error('as asked') }, async () => { throw new Error('as asked') }]) {
    t.match((await rejection(link.runAll([(client) => client.set(link.key('faults'), 'old'), fails, (client) => client.set(link.key('faults'), 'sent')]))).message, 'as asked')
    t.equal(await link.run((client) => client.getdel(link.key('faults'))), 'sent')
  }
  t.same(await link.runAll([async (client) => { client.set(link.key('faults'), 1); throw new Error('what it makes of an answer') }]), ['OK'])
  t.match((await rejection(link.runAll([async () => { throw new Error('as asked') }]))).message, 'as asked', 'also where nothing is sent')
  // Declared after the link was made.
  const late = defineScript({ name: 'redisLinkTestLateV1', keys: [], args: [], reply: reply<number>(), lua: 'return 7' })
  t.same(await link.runAll([(_client, call) => call(late, { keys: [], args: [] })]), [7])
}

t.test('declared scripts run through the link', async (t) => {
  const { app } = await build(t, { url: (await redisServer(t)).url })
  await scriptSuite(t, app.redisLink)
})

t.test('declared scripts run on a client that pipelines by itself', async (t) => {
  const client = new Redis((await redisServer(t)).url, { enableAutoPipelining: true })
  t.teardown(() => client.disconnect())
  const { app } = await build(t, { client })
  await scriptSuite(t, app.redisLink)
})

t.test('the arithmetic of leases', async (t) => {
  const client = connect(t, Number(new URL(sharedRedis()).port))
  const key = uniqueName()
  const [leases, beats] = [`${key}:leases`, `${key}:beats`]
  t.teardown(() => client.del(leases, beats))
  const beat = (holder: string, now: number, forgives = true) => client.eval(`${LEASE_LUA}
local now = tonumber(ARGV[1])
leaseForgive(KEYS[1], KEYS[2], now, 3000, 1000, ARGV[3] == '1')
leaseTake(KEYS[1], ARGV[2], now, 3000)
return { leaseLiving(KEYS[1], now), leaseLapsed(KEYS[1], now) }`, 2, leases, beats, now, holder, forgives ? '1' : '0')
  const ends = async () => Object.fromEntries((await client.zrange(leases, '0', '-1', 'WITHSCORES')).flatMap((one, at, all) => at % 2 === 0 ? [[one, Number(all[at + 1])]] : []))
  const start = 1_700_000_000_000
  const cases: Array<[what: string, holder: string, at: number, forgives: boolean, expected: Record<string, number>]> = [
    ['the first takes a lease', 'a', 0, true, { a: 3000 }],
    ['another within a heartbeat', 'b', 900, true, { a: 3000, b: 3900 }],
    ['of a pause of less than one and a half heartbeats one counts', 'a', 2300, true, { a: 5300, b: 4300 }],
    ['none ends later than one that is taken now', 'a', 3700, true, { a: 6700, b: 4700 }],
    ['after a longer pause each lease is whole', 'a', 5300, true, { a: 8300, b: 8300.5 }],
    ['but not again: one heartbeat counts of each', 'a', 7300, true, { a: 10_300, b: 9300.5 }],
    ['so that the dead end, however late the others are', 'a', 10_300, true, { a: 13_300, b: 11_300.5 }],
    ['who has renewed is forgiven again', 'b', 10_700, true, { a: 13_300, b: 13_700 }],
    ['also after a pause that was longer than a lease', 'b', 20_000, true, { a: 23_000.5, b: 23_000 }],
    ['who may not forgive lets the others lapse', 'c', 30_000, false, { a: 23_000.5, b: 23_000, c: 33_000 }]
  ]
  for (const [what, holder, at, forgives, expected] of cases) {
    await beat(holder, start + at, forgives)
    t.same(await ends(), Object.fromEntries(Object.entries(expected).map(([one, end]) => [one, start + end])), what)
    t.equal(await client.hget(beats, 'beatAt'), String(start + at))
  }
  t.same(await beat('c', start + 30_000), [['c'], ['b', 'a']], 'living and lapsed')
})

t.test('what is known of an outage', async (t) => {
  const redis = await redisServer(t)
  const { app } = await build(t, { url: redis.url, commandTimeoutMs: 300, probeIntervalMs: 60_000 })
  const { redisLink: { outages }, redisLink: link } = app
  t.equal(outages.since(), null)
  let breaks = 0
  const stop = outages.onBreak(() => { breaks++ })
  const { version } = outages

  redis.freeze()
  const ask = () => outages.guard('key', () => link.run((client) => client.get('key')))
  const changed = outages.changed(20_000)
  t.equal((await rejection(ask())).code, 'FST_ERR_REDIS_LINK_TIMEOUT')
  await changed
  t.type(outages.since('key'), 'number', 'since when the server is silent')
  t.equal((await rejection(ask())).code, 'FST_ERR_REDIS_LINK_UNAVAILABLE')
  t.equal(outages.version, version, 'no connection broke')
  redis.thaw()
  for (let asked = 0; outages.since('key') !== null && asked < 1000; asked++) await outages.changed(100)
  t.equal(await ask(), null)

  await redis.kill()
  for (let asked = 0; outages.since() === null && asked < 1000; asked++) await outages.changed(100)
  t.ok(outages.version > version)
  t.equal(outages.version - version, breaks, 'each is told at once')
  t.equal(outages.untilHeard(link.subscriber()), null, 'without Redis nobody waits for the subscriber')
  stop()
  await redis.restart()
  for (let asked = 0; outages.since() !== null && asked < 1000; asked++) await outages.changed(100)
  t.ok(link.isUp)
})

t.test('when a link is closed its outages change no more: who tries again and again does not keep the process busy', async (t) => {
  const redis = await redisServer(t)
  const { app } = await build(t, { url: redis.url })
  const { outages } = app.redisLink
  const waiting = outages.changed(60_000)
  await app.close()
  await waiting
  let hadTurn = false
  setImmediate(() => { hadTurn = true })
  // It does not keep the process alive by itself.
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => { clearInterval(alive) })
  await outages.changed(20)
  t.ok(hadTurn)
})

t.test('a client of the application is left without a listener of the link', async (t) => {
  const redis = await redisServer(t)
  const client = new Redis(redis.url)
  t.teardown(() => { client.disconnect() })
  client.on('error', () => {})
  const listeners = () => client.eventNames().map((event) => [event, client.listenerCount(event)])
  await once(client, 'ready')
  const before = listeners()
  for (let round = 0; round < 3; round++) {
    const { app } = await build(t, { client })
    await app.close()
  }
  t.same(listeners(), before)
})
