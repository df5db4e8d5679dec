import { execFile } from 'node:child_process'
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import { generate } from 'selfsigned'
import t, { type Test } from 'tap'
import { connect, freePort, redisCluster, redisServer, sentinel, sharedRedis, tcpProxy, temporaryFolder, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { diagnose } from '../src/connection/diagnose.ts'
import { isOutage } from '../src/connection/refusals.ts'
import { redisLink } from '../src/index.ts'
import { resolveOptions } from '../src/options.ts'
import { build, rejection } from './build.ts'

const PASSWORD = 'correct-horse'

/** Boots with `required` and without it: the same single sentence each time. */
async function refusal (t: Test, options: Parameters<typeof build>[1]): Promise<string> {
  const { complaints, app } = await build(t, { connectTimeoutMs: 1000, ...options })
  t.equal(app.redisLink.state, 'down')
  t.equal(complaints.length, 1, `one line: ${complaints.join(' | ')}`)
  const { code, message } = await rejection(build(t, { connectTimeoutMs: 1000, ...options, required: true }))
  t.equal(code, 'FST_ERR_REDIS_LINK_UNAVAILABLE')
  t.equal(message.replace('Redis is not available: ', ''), complaints[0]!.replace('Redis is down: ', ''))
  t.notMatch(complaints.join() + message, /hunter2/)
  return message
}

t.test('a wrong password, or none, is said without the password', async (t) => {
  const { port } = await redisServer(t, { args: ['--requirepass', PASSWORD] })
  t.match(await refusal(t, { url: `redis://:hunter2@127.0.0.1:${port}` }), `127.0.0.1:${port}: wrong or missing username or password`)
  t.match(await refusal(t, { url: `redis://127.0.0.1:${port}` }), 'wrong or missing username or password')
  t.match(await refusal(t, { url: `redis://ann:hunter2@127.0.0.1:${port}` }), 'wrong or missing username or password')
  const { app } = await build(t, { single: { port }, password: PASSWORD })
  t.equal(app.redisLink.state, 'up')
})

t.test('nobody listening and unknown hosts are named', async (t) => {
  const port = await freePort()
  t.match(await refusal(t, { single: { port } }), `127.0.0.1:${port}: nothing listens there`)
  // How long a resolver takes to say so is not ours: the sentence is made of its own answer, and the boot only does not wait.
  const url = 'redis://:hunter2@redis.invalid'
  const unknown = await lookup('redis.invalid').then(() => undefined, (err) => err)
  t.match(diagnose(unknown, resolveOptions({ url })), /^redis\.invalid:6379: the host name cannot be resolved/)
  const { app, complaints } = await build(t, { url, connectTimeoutMs: 100 })
  t.equal(app.redisLink.state, 'down')
  t.match(complaints, [/^Redis is down: redis\.invalid:6379: /])
  t.notMatch(complaints.join(), /hunter2/)
})

t.test('the wrong topology is named', async (t) => {
  t.match(await refusal(t, { mode: 'cluster', url: sharedRedis() }), /not a node of a Redis Cluster/)
  const { port } = new URL(sharedRedis())
  t.match(await refusal(t, { sentinel: { name: 'main', sentinels: [{ port: Number(port) }], password: 'hunter2' } }), /no Sentinel names a primary "main"/)
})

/** Port of a server of the test's own. */
async function listening (t: Test, server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => { sockets.add(socket) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => new Promise((resolve) => {
    server.close(resolve)
    for (const socket of sockets) socket.destroy()
  }))
  return (server.address() as AddressInfo).port
}

/** A server that says something when it is spoken to, or at once. */
function speaker (text: string | Buffer, isFirst = false): Server {
  return createTcpServer((socket) => {
    socket.on('error', () => {})
    if (isFirst) socket.write(text)
    socket.on('data', () => { if (!isFirst) socket.write(text) })
  })
}

t.test('what is no Redis is named, with its first words', async (t) => {
  const http = await listening(t, createHttpServer((_request, reply) => reply.end()))
  t.match(await refusal(t, { single: { port: http } }), /an HTTP server or proxy answers there, no Redis, it says "HTTP\/1\.1 400 Bad Request"/)
  t.match(await refusal(t, { url: `redis://:hunter2@127.0.0.1:${http}` }), /an HTTP server or proxy/)
  t.match(await refusal(t, { cluster: { nodes: [{ host: '127.0.0.1', port: http }] } }), /an HTTP server or proxy/)
  t.match(await refusal(t, { sentinel: { name: 'main', sentinels: [{ port: http }] } }), /no Sentinel names a primary "main": an HTTP server or proxy/)
  const said: Array<[said: string | Buffer, means: RegExp, isFirst?: boolean]> = [
    ['<html><body>502 Bad Gateway: AUTH hunter2</body></html>', /a web server or proxy answers there, no Redis, it says "<html>/],
    ['ERROR\r\n', /no Redis but perhaps memcached, it says "ERROR"/],
    ['SSH-2.0-OpenSSH_9.6\r\n', /what answers there is no Redis, it says "SSH-2.0-OpenSSH_9.6"/, true],
    [Buffer.from([0x4a, 0, 0, 0, 0x0a, 0x38]), /what answers there is no Redis, it says "J"/, true],
    [Buffer.from([0x15, 3, 3, 0, 2, 2, 10]), /speaks TLS on this port/]
  ]
  for (const [words, means, isFirst] of said) t.match(await refusal(t, { url: `redis://:hunter2@127.0.0.1:${await listening(t, speaker(words, isFirst))}` }), means)
  // No part of a password, wherever the words are cut.
  for (const fill of [1, 60]) {
    const echo = await listening(t, speaker(`<html>${'.'.repeat(fill)} AUTH geheim-ß-wort</html>`))
    t.notMatch(await refusal(t, { single: { port: echo }, password: 'geheim-ß-wort' }), /geheim/)
  }
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'x' }], { keySize: 2048 })
  const tls = await listening(t, createTlsServer({ cert, key }, (socket) => socket.end()).on('tlsClientError', () => {}))
  t.match(await refusal(t, { single: { port: tls } }), /speaks TLS|rediss:\/\//)
  for (const text of ['Unknown RESP type 60 "<". Please report this.', 'Command queue state error. If you can reproduce this, please report it. Last reply: x']) t.ok(isOutage(new Error(text)), text)
  t.match(diagnose(new Error('Protocol error, got "\\u0015" as reply type byte'), resolveOptions({ url: 'redis://a' })), /speaks TLS/, 'an injected client of ioredis 5')
})

t.test('a Sentinel that is taken for the Redis, and a node of a Cluster that is taken for all, are named', async (t) => {
  const { sentinels } = await sentinel(t)
  t.match(await refusal(t, { single: { port: sentinels[0]!.port } }), /the server is a Sentinel/)
  t.match(await refusal(t, { cluster: { nodes: [{ host: '127.0.0.1', port: sentinels[0]!.port }] } }), /knows no CLUSTER command/)
  const cluster = await redisCluster(t)
  const { app, complaints } = await build(t, { single: { port: cluster.nodes[0]!.port } })
  const outcomes = await Promise.all(['a', 'b', 'c', 'd'].map((key) => rejection(app.redisLink.run((client) => client.set(key, 1)))))
  t.ok(outcomes.some(({ message }) => message.startsWith('MOVED')))
  t.equal(complaints.filter((line) => /MOVED.*it is a node of a Redis Cluster: give its nodes as the option cluster/.test(line)).length, 1, complaints.join())
})

t.test('TLS: the right way works, and each wrong one is named', async (t) => {
  const { url, ca, port } = await tlsServer(t)
  const { app } = await build(t, { url, tls: { ca } })
  t.equal(app.redisLink.state, 'up')
  t.equal(await app.redisLink.kv.increment('n'), 1)
  // Not to wait at the boot is no haste for the handshake.
  const proxy = await tcpProxy(t, port)
  proxy.delay(100)
  const slow = await build(t, { url: url.replace(String(port), String(proxy.port)), tls: { ca }, connectTimeoutMs: 0 })
  await waitFor(() => slow.app.redisLink.isUp)
  t.match(await refusal(t, { url }), /TLS certificate is not accepted/)
  t.match(await refusal(t, { single: { port } }), /a port that speaks TLS needs rediss:\/\//)
  t.match(await refusal(t, { url: sharedRedis().replace('redis:', 'rediss:') }), /does the server speak TLS on this port/)
})

t.test('a Cluster over TLS whose nodes are told by names, as certificates of managed services have them', async (t) => {
  const { redis, port, ca } = await tlsServer(t, ['--cluster-enabled', 'yes', '--tls-cluster', 'yes', '--cluster-announce-hostname', 'localhost', '--cluster-preferred-endpoint-type', 'hostname'],
    { type: 2, value: 'localhost' })
  await redis.client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await waitFor(async () => /cluster_state:ok/.test(await redis.client.call('CLUSTER', 'INFO') as string))
  const cluster = { nodes: [{ host: 'localhost', port }] }
  const { app } = await build(t, { cluster, tls: { ca }, dnsLookup: (address, callback) => callback(null, address), required: true })
  t.equal(await app.redisLink.kv.increment('n'), 1)
  await waitFor(() => app.redisLink.subscriber()!.isUp)
  t.match(await refusal(t, { cluster, tls: { ca } }), /TLS certificate is not accepted/)
})

t.test('a server that accepts and stays silent does not hold the boot', async (t) => {
  const proxy = await tcpProxy(t, Number(new URL(sharedRedis()).port))
  proxy.mute()
  t.match(await refusal(t, { single: { port: proxy.port }, commandTimeoutMs: 300 }), /no answer in time/)
})

t.test('a connection cut one way is found and replaced', async (t) => {
  const proxy = await tcpProxy(t, Number(new URL(sharedRedis()).port))
  const { app } = await build(t, { single: { port: proxy.port }, commandTimeoutMs: 200, probeIntervalMs: 50 })
  const subscriber = app.redisLink.subscriber()!
  await waitFor(() => subscriber.isUp && app.redisLink.isUp)
  for (const direction of ['up', 'down'] as const) {
    proxy.mute(direction)
    await waitFor(() => !subscriber.isUp && !app.redisLink.isUp)
    proxy.mend()
    await waitFor(() => subscriber.isUp && app.redisLink.isUp)
  }
})

t.test('a Redis that takes the link and no subscriber: it is said once, and heard when there is room', async (t) => {
  const redis = await redisServer(t)
  const admin = redis.connect()
  const { app, complaints } = await build(t, { url: redis.url })
  const subscriber = app.redisLink.subscriber()!
  await waitFor(() => subscriber.isUp)
  await admin.config('SET', 'maxclients', '2')
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await waitFor(() => complaints.length > 0, { what: 'a line in the log' })
  t.match(complaints[0], /subscriber connection cannot be made.*max number of clients/)
  await admin.config('SET', 'maxclients', '100')
  await waitFor(() => subscriber.isUp, { timeoutMs: 10_000 })
  t.equal(complaints.length, 1)
})

t.test('a lock whose answer is lost is taken over, or given back', async (t) => {
  const port = Number(new URL(sharedRedis()).port)
  const direct = connect(t, port)
  const proxy = await tcpProxy(t, port)
  const { app } = await build(t, { single: { port: proxy.port }, commandTimeoutMs: 300 })
  const link = app.redisLink
  const stored = (name: string) => direct.get(link.key('lock', name))

  proxy.mute('down')
  const taking = link.tryLock('taken over', 60_000)
  await waitFor(() => stored('taken over'))
  proxy.mend()
  const lock = await taking
  t.ok(lock, 'its holder is the one who asked')
  t.equal(await lock!.release(), true)

  await waitFor(() => link.isUp)
  proxy.mute('down')
  t.equal(await link.tryLock('given back', 60_000), null)
  t.ok(await stored('given back'))
  proxy.mend()
  await waitFor(async () => await stored('given back') === null, { what: 'the lock to be given back' })

  await waitFor(() => link.isUp)
  const kept = await link.tryLock('released', 60_000)
  proxy.mute('up')
  t.equal(await kept!.release(), false)
  proxy.mend()
  await waitFor(async () => await stored('released') === null, { what: 'the lock to be released' })

  await waitFor(() => link.isUp)
  const held = await link.tryLock('released while Redis is away', 60_000)
  proxy.cut()
  await waitFor(() => !link.isUp)
  t.equal(await held!.release(), false)
  proxy.mend()
  await waitFor(async () => await stored('released while Redis is away') === null, { what: 'the lock to be released when Redis is back' })

  await direct.lpush(link.key('lock', 'of another type'), 'x')
  await t.rejects(link.tryLock('of another type', 60_000), /WRONGTYPE/, 'and not held by somebody')
})

t.test('a lock that a link was about to get when it closed is given back', async (t) => {
  const port = Number(new URL(sharedRedis()).port)
  const direct = connect(t, port)
  const proxy = await tcpProxy(t, port)
  const { app } = await build(t, { single: { port: proxy.port }, commandTimeoutMs: 5000, closeTimeoutMs: 10_000 })
  proxy.delay(100)
  const taking = app.redisLink.tryLock('late', 60_000)
  await app.close()
  t.equal(await taking, null)
  t.equal(await direct.get(app.redisLink.key('lock', 'late')), null)
})

t.test('work that ignores its signal takes nothing from the answers that a closing link waits for', async (t) => {
  const { url } = await redisServer(t)
  const { app } = await build(t, { url, commandTimeoutMs: 5000, closeTimeoutMs: 2000 })
  const link = app.redisLink
  const end = new AbortController()
  let isBegun = false
  const working = rejection(link.using('works', {}, () => {
    isBegun = true
    return once(end.signal, 'abort')
  }))
  await waitFor(() => isBegun)
  const closing = link.close()
  // Counted: TIME stands still within a script from Redis 7.2 on, and not every server has os.clock.
  const busy = "for _ = 1, 2e7 do end return 'done'"
  // One is always under way.
  while (link.isUp) t.equal(await link.run((client) => client.eval(busy, 0)).catch(String), 'done')
  await closing
  end.abort()
  t.equal((await working).code, 'FST_ERR_REDIS_LINK_LOCK_LOST')
})

t.test('a lock whose answer is read after its time is nobody\'s', async (t) => {
  const { app } = await build(t, { url: sharedRedis() })
  const link = app.redisLink
  const standStill = (ms: number): void => { for (const end = performance.now() + ms; performance.now() < end;); }
  const kept = await link.tryLock('kept', 60_000)
  const taking = link.tryLock('late', 100)
  const extending = kept!.extend(100)
  standStill(250)
  const next = link.tryLock('late', 60_000)
  t.equal(await taking, null)
  t.equal(await extending, false)
  t.ok(await next, 'its next holder is the only one')
})

t.test('an application that keeps something when it closes finds the link open, and nobody later', async (t) => {
  const siteId = uniqueName()
  const app = Fastify()
  const order: string[] = []
  app.addHook('onClose', async () => {
    await app.redisLink.kv.set('last', 'word')
    order.push(`hook ${app.redisLink.state}`)
  })
  app.register(redisLink, { url: sharedRedis(), siteId })
  await app.ready()
  await app.close()
  order.push(`closed ${app.redisLink.state}`)
  t.same(order, ['hook up', 'closed down'])
  t.match(await rejection(app.redisLink.kv.set('late', 1)), { code: 'FST_ERR_REDIS_LINK_UNAVAILABLE', message: /the link is closed/ })
  const { app: other } = await build(t, { url: sharedRedis(), siteId })
  t.equal(await other.redisLink.kv.get('last'), 'word')

  const called = Fastify()
  called.register(redisLink)
  await called.ready()
  await new Promise<void>((resolve) => { called.close(() => resolve()) })
  t.equal((await rejection(called.redisLink.kv.get('a'))).code, 'FST_ERR_REDIS_LINK_UNAVAILABLE', 'without Redis too, and with a callback')
})

t.test('databases of one Redis have channels of their own, and database 0 those of the release before', async (t) => {
  const siteId = uniqueName()
  const links = await Promise.all(['', '/3'].map(async (db) => (await build(t, { url: sharedRedis() + db, siteId, env: 'a' })).app.redisLink))
  t.equal(links[0]!.channel('news', 'x'), `${siteId}:a:news:x`)
  t.equal(links[1]!.channel('news', 'x'), `${siteId}:a@3:news:x`)
  const heard: string[] = []
  for (const [index, link] of links.entries()) await link.subscriber()!.subscribe(link.channel('news'), (message) => { heard.push(`${index}:${message}`) })
  for (const [index, link] of links.entries()) await link.run((client) => client.publish(link.channel('news'), String(index)))
  await waitFor(() => heard.length >= 2)
  t.same(heard.sort(), ['0:0', '1:1'])
})

t.test('two applications without a siteId on one Redis are told, once', async (t) => {
  const redis = await redisServer(t)
  const boot = async () => {
    const complaints: string[] = []
    const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { complaints.push(JSON.parse(line).msg) } } } })
    t.teardown(() => app.close())
    app.register(redisLink, { url: redis.url })
    await app.ready()
    return { app, complaints }
  }
  const one = await boot()
  const key = one.app.redisLink.key('link', 'application')
  const hasPexpired = async () => /cmdstat_pexpire:/.test(await redis.client.info('commandstats'))
  await waitFor(hasPexpired, { what: 'the first process to have looked' })
  await redis.client.pexpire(key, 60_000)
  const same = await boot()
  await waitFor(async () => await redis.client.pttl(key) > 60_000, { what: 'the second process to have looked' })
  await redis.client.set(key, 'blog')
  const other = await boot()
  await waitFor(() => other.complaints.length > 0)
  t.match(other.complaints[0], /and "blog" use one Redis without the option siteId/)
  t.same([...one.complaints, ...same.complaints], [])
  t.equal(await redis.client.get(key), 'blog')
})

t.test('a listener that throws or rejects is logged, and the others hear', async (t) => {
  const { app, complaints } = await build(t, { url: sharedRedis() })
  const link = app.redisLink
  const heard: string[] = []
  await link.subscriber()!.subscribe(link.channel('a'), () => { throw new Error('as asked') })
  await link.subscriber()!.subscribe(link.channel('a'), async () => { throw new Error('as asked') })
  await link.subscriber()!.subscribe(link.channel('a'), (message) => { heard.push(String(message)) })
  await link.run((client) => client.publish(link.channel('a'), 'x'))
  await waitFor(() => heard.length > 0 && complaints.length > 1)
  t.same(complaints, ['a listener of a Redis channel failed', 'a listener of a Redis channel failed'])
})

t.test('after close() nothing keeps the process alive, whatever Redis does', async (t) => {
  const redis = await redisServer(t)
  const frozen = await redisServer(t)
  frozen.freeze()
  const script = fileURLToPath(new URL('fixtures/open-and-close.js', import.meta.url))
  for (const url of [redis.url, frozen.url, `redis://127.0.0.1:${await freePort()}`]) {
    const { stdout } = await promisify(execFile)(process.execPath, [script, url], { env: { PATH: process.env.PATH }, timeout: 60_000 })
    t.match(stdout, /^closed/, url)
  }
  frozen.thaw()
})

/** A Redis that speaks TLS only, with a certificate of its own making: for the address, or for the name of the host. */
async function tlsServer (t: Test, args: string[] = [], altName: { type: 7, ip: string } | { type: 2, value: string } = { type: 7, ip: '127.0.0.1' }) {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'redis' }], { keySize: 2048, extensions: [{ name: 'subjectAltName', altNames: [altName] }] })
  const dir = temporaryFolder(t)
  const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')]
  writeFileSync(certFile, cert)
  writeFileSync(keyFile, key)
  const port = await freePort()
  const tls = ['--tls-port', String(port), '--tls-cert-file', certFile, '--tls-key-file', keyFile, '--tls-ca-cert-file', certFile, '--tls-auth-clients', 'no']
  const redis = await redisServer(t, { args: [...tls, ...args], tls: true })
  return { redis, port, ca: cert, url: `rediss://127.0.0.1:${port}` }
}
