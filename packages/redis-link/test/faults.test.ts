import { EventEmitter, once } from 'node:events'
import { Redis } from 'ioredis'
import t from 'tap'
import { freePort, redisServer, sharedRedis, waitFor } from '../../../test/helpers/index.ts'
import { FST_ERR_REDIS_LINK_TIMEOUT, type RedisClient } from '../src/index.ts'
import { Credentials } from '../src/connection/credentials.ts'
import { Place } from '../src/connection/place.ts'
import { isOutage } from '../src/connection/refusals.ts'
import { build, rejection } from './build.ts'

t.test('a listener of the link that throws or rejects is logged, and Redis stays up', async (t) => {
  const redis = await redisServer(t)
  const { app, complaints, changes } = await build(t, { url: redis.url, probeIntervalMs: 20 })
  const link = app.redisLink
  const heard: string[] = []
  for (const event of ['up', 'down', 'change'] as const) {
    link.on(event, () => { throw new Error('as asked') })
    link.on(event, async () => { throw new Error('as asked') })
    link.on(event, ({ state }) => { heard.push(`${event} ${state}`) })
  }
  const subscriber = link.subscriber()!
  const told: string[] = []
  await subscriber.subscribe(link.channel('a'), () => {})
  for (const event of ['down', 'gap', 'up'] as const) {
    subscriber.on(event, () => { throw new Error('as asked') })
    subscriber.on(event, () => { told.push(event) })
  }
  await redis.kill()
  await waitFor(() => link.state === 'down')
  t.match(complaints.find((line) => line.startsWith('Redis is down')), /127\.0\.0\.1:\d+: [^;]+$/, 'without advice about TLS: it has answered')
  await redis.restart()
  await waitFor(() => link.isUp && told.includes('up'))
  t.same(told, ['down', 'gap', 'up'], 'nor does a fault keep the subscriber from coming back')
  // The probes that follow must not tell the next outage.
  const probes = t.capture(link.client as Redis, 'ping', (link.client as Redis).ping as () => Promise<string>)
  let seen = 0
  await waitFor(() => (seen += probes().length) >= 12)
  t.ok(link.isUp)
  t.same(changes.map(({ state }) => state), ['down', 'up'])
  t.same(heard, ['down down', 'change down', 'up up', 'change up'], 'the other listeners hear')
  t.equal(complaints.filter((line) => line === 'a listener of the link to Redis failed').length, 8)
})

/** Delays of the timers that are set while a function runs, none of which fires. */
function delaysIn (run: () => void): number[] {
  const [{ setTimeout }, { random }] = [globalThis, Math]
  const delays: number[] = []
  const record = (_fire: () => void, ms: number) => {
    delays.push(ms)
    return { unref () { return this } }
  }
  Object.assign(globalThis, { setTimeout: record })
  Math.random = () => 1
  try { run() } finally {
    Object.assign(globalThis, { setTimeout })
    Math.random = random
  }
  return delays
}

t.test('a password that was taken makes the next refusal the first one', async (t) => {
  const client = Object.assign(new EventEmitter(), { isCluster: true })
  const credentials = new Credentials(() => 'one', client as unknown as RedisClient, undefined, 1000, { connections: () => [], onFault: () => {} })
  t.teardown(() => credentials.stop())
  const refuse = () => { client.emit('error', new Error('WRONGPASS invalid username-password pair')) }
  t.same(delaysIn(() => { for (let i = 0; i < 4; i++) refuse() }), [50, 100, 200, 400])
  const node = Object.assign(new EventEmitter(), { options: {} })
  client.emit('+node', node)
  node.emit('ready')
  t.same(delaysIn(refuse), [50])
})

t.test('a subscriber whose connection is cut as soon as it is made comes back less and less often', async (t) => {
  const { app } = await build(t, { url: sharedRedis() })
  const subscriber = app.redisLink.subscriber()!
  const delays: number[] = []
  const { setTimeout } = globalThis
  t.teardown(() => Object.assign(globalThis, { setTimeout }))
  const { random } = Math
  t.teardown(() => { Math.random = random })
  Math.random = () => 0.999
  subscriber.on('up', () => { subscriber.connection!.stream.destroy() })
  subscriber.on('down', () => {
    // The next timer, in this turn, is the pause.
    Object.assign(globalThis, {
      setTimeout: (fire: () => void, ms: number) => {
        Object.assign(globalThis, { setTimeout })
        delays.push(ms)
        return setTimeout(fire, ms)
      }
    })
  })
  await waitFor(() => delays.length >= 4)
  t.same(delays.slice(0, 4), [50, 100, 200, 400])
})

t.test('a server that failed is taken again after half a minute, after twice as long each time it fails once more, and after an hour at most', async (t) => {
  const { now } = performance
  t.teardown(() => { performance.now = now })
  let elapsedMs = 0
  performance.now = () => elapsedMs
  const named = (port: number) => ({ options: { host: 'h', port }, duplicate: () => ({ options: { host: 'h', port } }) }) as unknown as Redis
  const [home, other] = [named(1), named(2)]
  const client = { isCluster: true, slots: Array.from({ length: 16384 }, () => ['h:1']), nodes: () => [home, other] } as unknown as RedisClient
  const place = new Place(client, 'key')
  const avoidedFor = (): number => {
    place.avoid(home)
    const begin = elapsedMs
    while (place.connection()!.options.port !== 1) elapsedMs += 1000
    return elapsedMs - begin
  }
  const times = Array.from({ length: 9 }, avoidedFor)
  t.same(times, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600].map((seconds) => seconds * 1000))
  place.avoid(other)
  t.equal(place.connection()!.options.port, 1)
  t.equal(avoidedFor(), 30_000, 'another one failed meanwhile')
})

t.test('what the caller\'s own code throws in run passes as it is', async (t) => {
  const { app } = await build(t, { url: sharedRedis() })
  class OutOfStock extends Error {
    readonly code = 'OUT_OF_STOCK'
    readonly statusCode = 409
  }
  const faults: Error[] = [new OutOfStock('none left'), new Error('plain'), new TypeError('t'), Object.assign(new Error('ENOENT'), { code: 'ENOENT', syscall: 'open' }),
    new DOMException('The operation was aborted', 'AbortError')]
  for (const fault of faults) await t.rejects(app.redisLink.run(async () => { throw fault }), fault)
  await t.rejects(app.redisLink.run(async () => JSON.parse('not json')), SyntaxError)
  await t.rejects(app.redisLink.run(() => { throw new OutOfStock('at once') }), { code: 'OUT_OF_STOCK' })
  t.ok(app.redisLink.isUp)
})

t.test('what ioredis says of the connection is an outage', async (t) => {
  const port = await freePort()
  const seen: unknown[] = []
  const see = async (client: Redis, command: (client: Redis) => Promise<unknown>) => {
    client.on('error', (err) => { seen.push(err) })
    t.teardown(() => client.disconnect())
    await command(client).catch((err) => { seen.push(err) })
  }
  const away = { port, lazyConnect: true, maxRetriesPerRequest: 0 }
  await see(new Redis({ ...away, retryStrategy: () => null }), (client) => client.get('a'))
  await see(new Redis({ ...away, retryStrategy: () => 10_000 }), (client) => client.get('a'))
  await see(new Redis({ ...away, enableOfflineQueue: false }), (client) => client.get('a'))
  await see(new Redis({ lazyConnect: true, sentinels: [{ port }], name: 'main', sentinelRetryStrategy: () => null }), (client) => client.get('a'))
  const frozen = await redisServer(t)
  const slow = new Redis({ port: frozen.port, commandTimeout: 50, lazyConnect: true })
  await slow.connect()
  frozen.freeze()
  await see(slow, (client) => client.get('a'))
  frozen.thaw()
  for (const err of seen) t.ok(isOutage(err), String(err))
  t.match(seen.map(String).join('\n'), /ECONNREFUSED[\s\S]*Connection is closed[\s\S]*max retries[\s\S]*isn't writeable[\s\S]*All sentinels are unreachable[\s\S]*Command timed out/)
  t.ok(isOutage(new FST_ERR_REDIS_LINK_TIMEOUT(5)))
  for (const text of ['None of startup nodes is available', 'Cluster isn\'t ready and enableOfflineQueue options is false', 'Too many Cluster redirections. Last error: ReplyError: MOVED 1 a:1']) t.ok(isOutage(new Error(text)), text)
  for (const text of ['Connection in subscriber mode, only subscriber commands may be used', 'All the keys in a pipeline command should belong to the same slot']) t.notOk(isOutage(new Error(text)), text)
})

t.test('close() sends no QUIT to a Redis that is down', async (t) => {
  const redis = await redisServer(t)
  const { app } = await build(t, { url: redis.url, commandTimeoutMs: 100, probeIntervalMs: 3_600_000 })
  const client = app.redisLink.client as Redis
  redis.freeze()
  await rejection(app.redisLink.ping())
  await waitFor(() => app.redisLink.state === 'down')
  t.equal(client.status, 'ready', 'the connection looks open')
  const quits = t.capture(client, 'quit', client.quit)
  await app.close()
  t.same(quits(), [])
  redis.thaw()
})

t.test('an injected client is never disconnected, whatever the probes say', async (t) => {
  const redis = await redisServer(t)
  const client = new Redis({ port: redis.port, retryStrategy: () => null })
  await once(client, 'ready')
  t.teardown(() => client.disconnect())
  const { app } = await build(t, { client, commandTimeoutMs: 50, probeIntervalMs: 10 })
  await waitFor(() => app.redisLink.isUp)
  const probes = t.capture(client, 'ping', client.ping as () => Promise<string>)
  // It waits for its own answer on the client's one connection, and the probes behind it.
  const popped = client.blpop('list', 0)
  let seen = 0
  await waitFor(() => (seen += probes().length) >= 10)
  t.equal(app.redisLink.state, 'down')
  t.equal(client.status, 'ready')
  await redis.client.rpush('list', 'x')
  t.same(await popped, ['list', 'x'])
  await waitFor(() => app.redisLink.isUp)
})
