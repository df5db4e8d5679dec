import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Cluster } from 'ioredis'
import t, { type Test } from 'tap'
import { redisServer, sharedRedis, temporaryFolder, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { aclCommand, type RedisNeeds } from '../src/acl.ts'
import { isOutage } from '../src/connection/refusals.ts'
import type { FastifyRedisLinkOptions } from '../src/index.ts'
import { build, rejection } from './build.ts'

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`

/** A server that answers every command by the same rule: no Redis at hand can be brought to say these things at will. */
async function answering (t: Test, answer: (command: string[], socket: Socket) => string): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket)))
    // Commands of these clients arrive whole: arrays of bulk strings.
    socket.on('data', (bytes) => {
      for (const command of String(bytes).split(/^\*\d+\r\n/m).slice(1)) {
        const [name = '', ...args] = command.split('\r\n').filter((_line, at) => at % 2 === 1)
        socket.write(`${answer([name.toUpperCase(), ...args], socket)}\r\n`)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  return (server.address() as AddressInfo).port
}

t.test('a user who may hear no channel: each subscribe rejects, named, and nothing reconnects', async (t) => {
  const redis = await redisServer(t)
  await redis.client.call('ACL', 'SETUSER', 'no-channels', 'on', '>pw', '~*', '+@all', 'resetchannels')
  const { app, complaints } = await build(t, { url: redis.url, username: 'no-channels', password: 'pw', probeIntervalMs: 20 })
  const link = app.redisLink
  const subscriber = link.subscriber()!
  await waitFor(() => subscriber.isUp)
  const connections = async () => Number(/total_connections_received:(\d+)/.exec(await redis.client.info('stats'))![1])
  const before = await connections()
  for (const name of ['a', 'b']) {
    const { code, message } = await rejection(subscriber.subscribe(link.channel(name), () => {}))
    t.equal(code, 'FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED')
    t.match(message, link.channel(name))
    t.match(message, /NOPERM/)
  }
  t.match((await rejection(subscriber.psubscribe(link.channel('*'), () => {}))).message, link.channel('*'))
  t.match(await rejection(subscriber.subscribe(link.channel('a'), () => {})), { code: 'FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED' }, 'asked again')
  let probes = 0
  const pings = t.capture(link.client!, 'ping', link.client!.ping as () => Promise<string>)
  await waitFor(() => (probes += pings().length) > 12)
  t.equal(await connections(), before, 'no connection was replaced')
  t.ok(subscriber.isUp && link.isUp)
  t.equal(complaints.filter((line) => !/lacks permissions/.test(line)).length, 3, 'each is logged once')
})

t.test('who subscribes twice with one listener: both are refused, or each is ended by itself', async (t) => {
  const redis = await redisServer(t)
  await redis.client.call('ACL', 'SETUSER', 'some', 'on', '>pw', '~*', '+@all', 'resetchannels', '&*:open', '&*:link:*')
  const { app } = await build(t, { url: redis.url, username: 'some', password: 'pw' })
  const link = app.redisLink
  const subscriber = link.subscriber()!
  let heard = 0
  const listener = () => { heard++ }
  const listen = (name: string) => subscriber.subscribe(link.channel(name), listener)
  const refused = 'FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED'
  const twice = async () => (await Promise.all([listen('closed'), listen('closed')].map(rejection))).map(({ code }) => code)
  t.same(await twice(), [refused, refused], 'before the connection was there')
  await waitFor(() => subscriber.isUp)
  t.same(await twice(), [refused, refused], 'and after')
  const [end, endOther] = await Promise.all([listen('open'), listen('open')])
  const publish = () => redis.client.publish(link.channel('open'), 'x')
  await publish()
  await waitFor(() => heard > 0)
  await end!()
  await end!()
  t.equal(await publish(), 1, 'the other one stands')
  await waitFor(() => heard > 1)
  t.equal(heard, 2, 'once for each message')
  await endOther!()
  t.equal(await publish(), 0)
})

t.test('one forbidden channel leaves the others alone, at once and after a reconnection', async (t) => {
  const redis = await redisServer(t)
  await redis.client.call('ACL', 'SETUSER', 'some', 'on', '>pw', '~*', '+@all', 'resetchannels', '&*:open*', '&*:link:*')
  const { app } = await build(t, { url: redis.url, username: 'some', password: 'pw' })
  const link = app.redisLink
  const subscriber = link.subscriber()!
  const heard: string[] = []
  const listen = (name: string) => subscriber.subscribe(link.channel(name), (message) => { heard.push(`${name} ${message}`) })
  const early = [listen('open'), rejection(listen('closed')), listen('open2')] as const
  t.equal((await early[1]).code, 'FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED', 'one that was asked for before the connection was there')
  await Promise.all([early[0], early[2]])
  const publish = (name: string) => redis.client.publish(link.channel(name), 'x')
  for (const name of ['open', 'closed', 'open2']) await publish(name)
  await waitFor(() => heard.length === 2)
  t.same(heard, ['open x', 'open2 x'])

  // A permission that ends ends one subscription.
  await redis.client.call('ACL', 'SETUSER', 'some', 'resetchannels', '&*:open', '&*:link:*')
  await redis.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await waitFor(() => !subscriber.isUp)
  await waitFor(() => subscriber.isUp)
  heard.length = 0
  for (const name of ['open2', 'open']) await publish(name)
  await waitFor(() => heard.length === 1)
  t.same(heard, ['open x'])
})

t.test('a subscriber that hears nothing on an open connection is replaced', async (t) => {
  let isDeaf = true
  const subscribed = new Set<Socket>()
  const port = await answering(t, ([name = '', channel = '', message = ''], socket) => {
    if (name === 'HELLO') return '-ERR unknown command \'HELLO\''
    if (name === 'PING') return subscribed.has(socket) ? '*2\r\n$4\r\npong\r\n$0\r\n' : '+PONG'
    if (name === 'SUBSCRIBE') {
      subscribed.add(socket)
      return `*3\r\n${bulk('subscribe')}${bulk(channel)}:1`
    }
    if (name === 'PUBLISH' && !isDeaf) for (const one of subscribed) one.write(`*3\r\n${bulk('message')}${bulk(channel)}${bulk(message)}`)
    return name === 'PUBLISH' ? ':1' : '+OK'
  })
  const { app, complaints } = await build(t, { single: { port }, probeIntervalMs: 20, commandTimeoutMs: 100 })
  const subscriber = app.redisLink.subscriber()!
  let gaps = 0
  subscriber.on('gap', () => { gaps++ })
  await waitFor(() => gaps > 0)
  t.match(complaints[0], /subscriber connection is replaced: it did not hear a message to itself/)
  isDeaf = false
  await waitFor(() => subscriber.isUp)
  const [before, seen] = [gaps, subscribed.size]
  await waitFor(() => app.redisLink.ping().then(() => subscriber.isUp && gaps === before && subscribed.size === seen), { what: 'the subscriber to stay' })
})

t.test('a server without INFO is up', async (t) => {
  const redis = await redisServer(t, { args: ['--rename-command', 'INFO', ''] })
  const { app, complaints } = await build(t, { url: redis.url, required: true })
  t.ok(app.redisLink.isUp)
  t.equal(app.redisLink.epoch, null)
  t.equal(await app.redisLink.kv.increment('n'), 1)
  t.same(complaints, [])
})

t.test('a user who may neither PING nor ask INFO is up', async (t) => {
  const redis = await redisServer(t)
  await redis.client.call('ACL', 'SETUSER', 'plain', 'on', '>pw', '~*', '&*', '+@all', '-info', '-ping', '-client', '-hello')
  const { app } = await build(t, { url: redis.url, username: 'plain', password: 'pw', required: true, probeIntervalMs: 20 })
  await waitFor(() => app.redisLink.subscriber()!.isUp)
  t.equal(await app.redisLink.kv.increment('n'), 1)
})

t.test('what the Redis user lacks is told once at boot, with the rule that cures it', async (t) => {
  const redis = await redisServer(t)
  const siteId = uniqueName()
  const { redisNeeds } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { redisNeeds: RedisNeeds }
  const rules = aclCommand([redisNeeds], { siteId, env: 'test', user: '', db: 0 }).split(' ').slice(3)
  const user = (name: string, ...more: string[]) => redis.client.call('ACL', 'SETUSER', name, ...rules, '>pw', ...more)
  const boot = (name: string) => build(t, { url: redis.url, username: name, password: 'pw', siteId, env: 'test' })
  await user('whole')
  await user('narrow', '-zadd', '-incrby', 'resetkeys', `~${siteId}:test:kv:*`, 'resetchannels')
  await user('no-scripts', '-eval', '-evalsha')
  const whole = await boot('whole')
  await whole.app.redisLink.ping()
  t.same(await redis.client.call('ACL', 'LOG'), [], 'asking is no attempt')
  const { complaints } = await boot('narrow')
  await waitFor(() => complaints.length > 0)
  const cure = /This cures it: ACL SETUSER narrow (.*)/.exec(complaints[0]!)?.[1]?.split(' ')
  t.same(cure, ['+incrby', '+zadd', `~${siteId}:test:lock:*`, `~${siteId}:test:limit:*`, `~${siteId}:test:link:*`, `&${siteId}:test:link:*`])
  await redis.client.call('ACL', 'SETUSER', 'narrow', ...cure!)
  const cured = await boot('narrow')
  await cured.app.redisLink.rateLimit('a', 1, 1000)
  const { complaints: told } = await boot('no-scripts')
  await waitFor(() => told.length > 0)
  t.match(told[0], /ACL SETUSER no-scripts \+eval \+evalsha$/)
  t.same([...whole.complaints, ...cured.complaints], [])
  t.equal(complaints.length, 1)
})

t.test('a server that is loading is down, and up when it has loaded', async (t) => {
  let loading = true
  const refusal = '-LOADING Redis is loading the dataset in memory'
  const port = await answering(t, ([name]) => {
    if (name === 'HELLO') return '-ERR unknown command \'HELLO\''
    if (name === 'INFO' || name === 'CLIENT') return bulk('a:b').trimEnd()
    if (loading) return refusal
    return name === 'PING' ? '+PONG' : '$-1'
  })
  const { app, complaints } = await build(t, { single: { port }, probeIntervalMs: 20, connectTimeoutMs: 300 })
  t.equal(app.redisLink.state, 'down')
  t.match(complaints, [/still loading/])
  loading = false
  await waitFor(() => app.redisLink.isUp)
  t.equal(await app.redisLink.kv.get('a'), null)
  t.equal(complaints.length, 1)
})

t.test('what the work is refused with is an outage, in the words of every server', async (t) => {
  const inScript = (text: string) => `ERR Error running script (call to f_${'a'.repeat(40)}): @user_script:5: @user_script: 5: -${text}`
  const reply = (message: string) => Object.assign(new Error(message), { name: 'ReplyError' })
  const refusals = ['NOREPLICAS Not enough good replicas to write.', 'READONLY You can\'t write against a read only replica.',
    'OOM command not allowed when used memory > \'maxmemory\'.', 'MISCONF Redis is configured to save RDB snapshots', 'MASTERDOWN Link with MASTER is down']
  for (const text of refusals) {
    t.ok(isOutage(reply(text)), text)
    t.ok(isOutage(reply(`${text} script: ${'a'.repeat(40)}, on @user_script:1.`)), 'of Redis 7, in a script')
    t.ok(isOutage(reply(inScript(text))), 'of Redis 6.2, in a script')
  }
  t.notOk(isOutage(reply('ERR Error running script (call to f_a): @user_script:1: WRONGTYPE Operation against a key')))
  t.notOk(isOutage(reply('NOPERM this user has no permissions to run the \'get\' command')))

  const redis = await redisServer(t)
  const { app, complaints } = await build(t, { url: redis.url })
  await redis.client.call('CONFIG', 'SET', 'min-replicas-to-write', '1')
  t.match(await rejection(app.redisLink.run((client) => client.set('a', '1'))), { code: 'FST_ERR_REDIS_LINK_UNAVAILABLE', message: /NOREPLICAS/ })
  // Redis 6.2 asks for no replica where a script writes.
  const isAsked = await redis.client.eval('return redis.call("SET", KEYS[1], "1")', 1, 'b').then(() => false, () => true)
  const using = app.redisLink.using('a', { waitMs: 0 }, () => 'held')
  if (isAsked) await t.rejects(using, { code: 'FST_ERR_REDIS_LINK_UNAVAILABLE', message: /NOREPLICAS/ }, 'nobody holds the lock')
  else t.equal(await using, 'held')
  t.equal(await app.redisLink.run((client) => client.get('a')), null, 'what can be done is done')
  const { kv } = app.redisLink
  await t.rejects(kv.del('v'), { code: 'FST_ERR_REDIS_LINK_UNAVAILABLE', message: /NOREPLICAS/ }, 'whatever Redis has is still there')
  await redis.client.call('CONFIG', 'SET', 'min-replicas-to-write', '0')
  await redis.client.call('CONFIG', 'SET', 'maxmemory', '1')
  for (let round = 0; round < 3; round++) t.equal(await kv.set('v', round), 'memory')
  t.equal(await kv.get('v'), null)
  await redis.client.call('CONFIG', 'SET', 'maxmemory', '0')
  t.same([await kv.set('v', 3), await kv.get('v'), await kv.del('v')], ['redis', 3, true])
  t.ok(app.redisLink.isUp)
  t.match(complaints, [/refuses.*NOREPLICAS.*min-replicas-to-write/, /refuses.*OOM.*raise maxmemory/])
  t.equal(complaints.length, 2, 'each once')
})

t.test('a process that was busy does not take Redis for away', async (t) => {
  const { app, changes, complaints } = await build(t, { url: sharedRedis(), commandTimeoutMs: 100, probeIntervalMs: 50 })
  const link = app.redisLink
  for (let round = 0; round < 3; round++) {
    const answer = link.run((client) => client.set(link.key('a'), '1'))
    await new Promise(setImmediate)
    const end = performance.now() + 250
    while (performance.now() < end);
    t.equal(await answer, 'OK')
  }
  t.same(changes, [])
  t.same(complaints, [])
})

t.test('a password that a function gives is renewed before its end, on open connections too', async (t) => {
  const redis = await redisServer(t)
  const user = (...rules: string[]) => redis.client.call('ACL', 'SETUSER', 'app', 'on', '~*', '&*', '+@all', ...rules)
  await user('>one')
  let password = 'one'
  let asked = 0
  const { app, complaints } = await build(t, { url: redis.url, username: 'app', password: async () => { asked++; return { password, expiresInMs: 200 } }, required: true })
  const link = app.redisLink
  const subscriber = link.subscriber()!
  await waitFor(() => subscriber.isUp)
  const auths = async () => Number(/cmdstat_auth:calls=(\d+)/.exec(await redis.client.info('commandstats'))?.[1] ?? 0)
  const before = await auths()
  await user('>two')
  password = 'two'
  await waitFor(async () => await auths() >= before + 2, { what: 'both connections to authenticate again' })
  t.ok(link.isUp && subscriber.isUp, 'without a reconnection')

  // One that is refused is asked for again.
  await user('resetpass', '>three')
  password = 'three'
  await redis.client.call('CLIENT', 'KILL', 'USER', 'app')
  await waitFor(() => !link.isUp)
  await waitFor(() => link.isUp && subscriber.isUp)
  t.ok(asked > 2)
  t.notMatch(complaints.join(), /one|two|three/)
})

t.test('a function that gives no password is told, and asked again', async (t) => {
  const redis = await redisServer(t, { args: ['--requirepass', 'correct-horse'] })
  let asked = 0
  const { app, complaints } = await build(t, { url: redis.url, connectTimeoutMs: 1, password: () => { if (++asked < 3) throw new Error('no vault'); return 'correct-horse' } })
  await waitFor(() => app.redisLink.isUp)
  t.match(complaints.join(), /password of Redis could not be renewed/)
  t.equal(app.redisLink.reason, null)
})

t.test('a password whose time is no number is used, told, and asked for again with a pause', async (t) => {
  const redis = await redisServer(t, { args: ['--requirepass', 'correct-horse'] })
  let asked = 0
  const { app, complaints } = await build(t, { url: redis.url, required: true, password: () => { asked++; return { password: 'correct-horse', expiresInMs: NaN } } })
  const start = performance.now()
  await waitFor(() => asked === 5)
  t.ok(performance.now() - start > 100, 'at most every 25 ms at first, and more rarely then')
  t.ok(app.redisLink.isUp)
  t.match(complaints.join(), /password of Redis could not be renewed/)
})

t.test('a function for the password that never answers is told, and asked again', async (t) => {
  const redis = await redisServer(t, { args: ['--requirepass', 'correct-horse'] })
  let asked = 0
  const password = async (): Promise<string> => ++asked < 2 ? new Promise<never>(() => {}) : 'correct-horse'
  const { app, complaints } = await build(t, { url: redis.url, connectTimeoutMs: 1, commandTimeoutMs: 100, password })
  await waitFor(() => app.redisLink.isUp)
  t.match(complaints.join(), /password of Redis could not be renewed/)
})

t.test('connection options reach ioredis', async (t) => {
  const path = join(temporaryFolder(t), 'redis.sock')
  const redis = await redisServer(t, { args: ['--unixsocket', path, '--bind', '127.0.0.1', '-::1'] })
  const { app } = await build(t, { url: redis.url, db: 2, connectionName: 'shop', family: 4, keepAliveMs: 5000 })
  await waitFor(() => app.redisLink.subscriber()!.isUp)
  const lines = (await redis.client.call('CLIENT', 'LIST') as string).split('\n').filter((line) => line.includes(' name=shop '))
  t.equal(lines.length, 2, 'the subscriber too')
  t.ok(lines.every((line) => line.includes(' db=2 ')))
  const { app: local } = await build(t, { single: { path }, required: true })
  t.equal(await local.redisLink.kv.increment('n'), 1)
  const overIpv6 = await build(t, { url: redis.url.replace('127.0.0.1', '[::1]'), connectTimeoutMs: 20_000 })
  // Not every machine has it.
  t.ok(overIpv6.app.redisLink.isUp || /EADDRNOTAVAIL|EAFNOSUPPORT/.test(overIpv6.app.redisLink.reason ?? ''), overIpv6.app.redisLink.reason ?? 'up')
  const natMap = { '10.0.0.1:6379': { host: '127.0.0.1', port: 1 } }
  const dnsLookup: NonNullable<FastifyRedisLinkOptions['dnsLookup']> = (address, callback) => callback(null, address)
  const { app: cluster } = await build(t, { cluster: { nodes: [{ port: 1 }] }, natMap, dnsLookup, connectTimeoutMs: 0 })
  t.match((cluster.redisLink.client as Cluster).options, { natMap, dnsLookup })
  t.match(cluster.redisLink.reason, /127\.0\.0\.1:1: /)
})
