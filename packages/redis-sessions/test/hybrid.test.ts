import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'
import { MongoClient, type MongoClientOptions } from 'mongodb'
import t, { type Test } from 'tap'
import { mongo, redisMonitor, redisServer, uniqueName, waitFor, type TestRedis } from '../../../test/helpers/index.ts'
import { mongoBackup, type MongoBackupCollection, type SessionBackup } from '../src/index.ts'
import { newId, refOf } from '../src/stores/ids.ts'
import { Browser, makeApp } from './support/app.ts'

const COUNT = 100

interface Hybrid { redis: TestRedis, app: FastifyInstance, collection: MongoBackupCollection, another: (intervalMs?: number) => Promise<FastifyInstance> }

async function hybrid (t: Test, intervalMs: number, sessions: object = {}): Promise<Hybrid> {
  const redis = await redisServer(t)
  const { db } = await mongo(t)
  const collection = db.collection(uniqueName('sessions')) as unknown as MongoBackupCollection
  const siteId = uniqueName()
  const another = (ms = intervalMs) => makeApp(t, {
    redis: { url: redis.url, siteId, probeIntervalMs: 200 },
    sessions: { backup: mongoBackup(collection, { intervalMs: ms }), ...sessions }
  })
  return { redis, another, collection, app: await another() }
}

async function logIn (app: FastifyInstance, user: string, data: object = {}): Promise<Browser> {
  const browser = new Browser(app)
  const response = await browser.post('/login', { user, ...data })
  if (response.statusCode !== 200) throw new Error(response.body)
  return browser
}

/** Logs `count` users in, ten at a time. */
async function crowd (app: FastifyInstance, name: string, count: number): Promise<Browser[]> {
  const browsers: Browser[] = []
  while (browsers.length < count) browsers.push(...await Promise.all(Array.from({ length: 10 }, (_, index) => logIn(app, `${name}${browsers.length + index}`, { n: 1 }))))
  return browsers
}

async function loseRedis ({ redis, app }: Hybrid): Promise<void> {
  await redis.kill()
  await waitFor(() => !app.redisLink.isUp)
  await redis.restart({ empty: true })
  await waitFor(() => app.redisLink.isUp)
  // With copies a restoration is refused until the leases of before are over.
  if (app.hasDecorator('configCache')) await waitFor(() => app.configCache.mode === 'coherent')
}

/** Until then each session that Redis knows is compared with the backup. */
async function isComplete ({ redisLink }: FastifyInstance): Promise<void> {
  const key = redisLink.key('session-backup', '{job}', 'complete')
  await waitFor(async () => await redisLink.run((client) => client.get(key)) === redisLink.epoch, { what: 'the ends to be in Redis' })
}

t.test(`Redis loses its data: ${COUNT} who were logged in stay in, ${COUNT} who had logged out stay out`, async (t) => {
  // No batch runs in this time: what is checked is there before the response of a login or logout leaves.
  const all = await hybrid(t, 600_000)
  const { app, another } = all
  t.equal(app.sessions.mode, 'hybrid')
  const stay = await crowd(app, 'stay', COUNT)
  const out = await crowd(app, 'out', COUNT)
  const everywhere = await crowd(app, 'everywhere', 20)
  const revoked = await crowd(app, 'revoked', 10)
  const cookies = out.map((browser) => browser.header())
  for (const browser of out) t.equal((await browser.post('/logout')).statusCode, 200)
  for (const index of everywhere.keys()) await app.sessions.logoutAll(`everywhere${index}`)
  for (const index of revoked.keys()) await app.sessions.revoke(`revoked${index}`, (await app.sessions.list(`revoked${index}`))[0]!.handle)
  const again = await logIn(app, 'everywhere0')
  const kept = await logIn(app, 'everywhere1')
  const other = await logIn(app, 'everywhere1')
  await kept.post('/logout-others')
  await loseRedis(all)
  const fresh = await another()
  for (const cookie of cookies) t.notOk((await fresh.inject({ url: '/me', headers: { cookie } })).json().userId, 'out')
  for (const browser of [...everywhere, ...revoked, other]) t.notOk((await browser.get('/me', fresh)).json().userId, 'out')
  for (const [index, browser] of stay.entries()) t.match((await browser.get('/me', fresh)).json(), { userId: `stay${index}`, fields: { n: 1 } }, 'in')
  t.equal((await again.get('/me', fresh)).json().userId, 'everywhere0')
  t.equal((await kept.get('/me', fresh)).json().userId, 'everywhere1', 'the session that pressed logout-others stays')
  t.equal((await stay[0]!.get('/list?user=stay0', fresh)).json().length, 1)
})

t.test('restoration also happens in bulk, so that sessions are listed before their first use, whatever the clock of the instance says', async (t) => {
  const all = await hybrid(t, 300)
  const browsers = await crowd(all.app, 'u', 30)
  const headers = { cookie: browsers[7]!.header() }
  const { now } = Date
  t.teardown(() => { Date.now = now })
  // Longer than sessions live.
  Date.now = () => now() + 100 * 24 * 3600_000
  await loseRedis(all)
  await waitFor(async () => await all.app.sessions.count() === 30, { what: 'the bulk restoration' })
  t.equal((await all.app.sessions.list('u7')).length, 1)
  t.ok((await all.app.inject({ url: '/me', headers })).json().userId)
  Date.now = now
})

t.test('a change reaches the backup with the next batch, and a restored session has it', async (t) => {
  const all = await hybrid(t, 300)
  const browser = await logIn(all.app, 'u', { n: 1 })
  await browser.post('/set', { n: 2 })
  await browser.post('/set', { n: 3 })
  const { hash } = refOf(browser.cookie!.split('.')[0]!)!
  await waitFor(async () => /"n":3/.test((await all.collection.findOne({ _id: hash }) as { payload: string }).payload), { what: 'the batch' })
  await loseRedis(all)
  t.match((await browser.get('/me')).json(), { userId: 'u', fields: { n: 3 } })
})

t.test('one instance of several runs the batch of an interval', async (t) => {
  let batches = 0
  const count = () => { batches++ }
  subscribe('jpulse:redis-sessions:backup-batch', count)
  t.teardown(() => unsubscribe('jpulse:redis-sessions:backup-batch', count))
  const all = await hybrid(t, 600_000)
  const apps = [all.app, await all.another(), await all.another(), await all.another()]
  await waitFor(() => batches === 1 && apps.every((app) => app.redisLink.isUp))
  const lock = all.app.redisLink.key('lock', 'sessions:backup')
  const asked = new Set<string>()
  await redisMonitor(t, all.redis.url, ([name = '', ...args], source) => { if (/^evalsha$/i.test(name) && args.includes(lock)) asked.add(source) })
  const everybodyAsks = async () => {
    asked.clear()
    for (const { redisLink } of apps) redisLink.emit('change', { state: redisLink.state, epoch: redisLink.epoch })
    await waitFor(() => asked.size === apps.length, { what: 'each instance to ask for the lock' })
  }
  await everybodyAsks()
  t.equal(batches, 1)
  t.ok(await all.redis.client.pttl(lock) > 0.5 * 540_000, 'until most of the interval is over')
  await all.redis.client.del(lock)
  await everybodyAsks()
  await waitFor(() => batches >= 2)
  t.equal(batches, 2)
})

t.test('a batch that read a session before its logout does not bring it back', async (t) => {
  const { collection } = await hybrid(t, 600_000)
  const backup = mongoBackup(collection)
  const ref = refOf(newId())!
  const now = Date.now()
  const stored = { version: 'v'.repeat(12), stamp: now * 1000, createdAt: now, touchedAt: now, payload: 'x' }
  await backup.put([{ ref, stored, expiresAt: now + 60_000 }])
  t.ok(await backup.get(ref))
  await backup.end(ref, now + 60_000)
  await backup.put([{ ref, stored: { ...stored, touchedAt: now + 5 }, expiresAt: now + 60_000 }])
  t.equal(await backup.get(ref), null)
  const never = refOf(newId())!
  await backup.end(never, now + 60_000)
  await backup.put([{ ref: never, stored, expiresAt: now + 60_000 }])
  t.equal(await backup.get(never), null, 'also where the logout came before the first write')
  for await (const entry of backup.all()) t.fail(`${entry.ref.hash} is handed out`)
})

t.test('an older state does not replace a newer one', async (t) => {
  const { collection } = await hybrid(t, 600_000)
  const backup = mongoBackup(collection)
  const ref = refOf(newId())!
  const now = Date.now()
  const state = (payload: string, touchedAt: number) => ({ ref, stored: { version: 'v'.repeat(12), stamp: now * 1000, createdAt: now, touchedAt, payload }, expiresAt: now + 60_000 })
  await backup.put([state('newer', now + 10)])
  await backup.put([state('older', now)])
  t.equal((await backup.get(ref))!.stored.payload, 'newer')
})

t.test('expired sessions and marks go from the backup, by the TTL index or by the batch', async (t) => {
  const { app, collection } = await hybrid(t, 200, { idleTimeoutMs: 500, absoluteTimeoutMs: 800 })
  await logIn(app, 'u')
  await (await logIn(app, 'v')).post('/logout')
  await app.sessions.logoutAll('w')
  t.ok(await collection.findOne({}))
  // A MongoDB server looks for expired documents once a minute.
  await waitFor(async () => await collection.findOne({}) === null, { what: 'an empty backup', timeoutMs: 70_000 })
})

t.test('while the backup is away logins go on, and a logout that would not hold in it is refused', async (t) => {
  const fail = async () => { throw new Error('the backup is away') }
  const backup: SessionBackup = { intervalMs: 600_000, open: async () => {}, put: fail, end: fail, endAll: fail, get: fail, isEnded: fail, async * ends () {}, async * all () {}, sweep: async () => {} }
  const redis = await redisServer(t)
  const app = await makeApp(t, { redis: { url: redis.url }, sessions: { backup } })
  await isComplete(app)
  const browser = await logIn(app, 'u')
  t.equal((await browser.get('/me')).json().userId, 'u')
  const response = await browser.post('/logout')
  t.equal(response.statusCode, 503)
  t.equal(response.headers['retry-after'], '1')
  t.equal((await new Browser(app).post('/logout-all', { user: 'u' })).statusCode, 503)
  await t.rejects(makeApp(t, { redis: { url: redis.url }, sessions: { backup: {} as SessionBackup } }), { message: /backup/ })
  t.throws(() => mongoBackup({} as MongoBackupCollection), { code: 'FST_ERR_REDIS_SESSIONS_INVALID_OPTION' })
})

t.test('a logout-all that the backup did not hear of is refused, and spares the login after it', async (t) => {
  const all = await hybrid(t, 600_000)
  const { app, collection } = all
  await isComplete(app)
  const before = await logIn(app, 'u')
  const { updateOne } = collection
  let answer = () => {}
  const answered = new Promise<void>((resolve) => { answer = resolve })
  let asked = 0
  collection.updateOne = async (...args) => {
    if (asked++ > 0) return updateOne.apply(collection, args)
    await answered
    throw new Error('the backup is away')
  }
  const refused = app.sessions.logoutAll('u')
  await waitFor(() => asked === 1)
  const after = await logIn(app, 'u')
  answer()
  await t.rejects(refused, { code: 'FST_ERR_REDIS_SESSIONS_BACKUP_UNAVAILABLE' })
  t.notOk((await before.get('/me')).json().userId, 'it holds in Redis')
  await loseRedis(all)
  t.equal((await after.get('/me')).json().userId, 'u')
})

t.test('an end outlives a late state that a database without atomic updates wrote over it', async (t) => {
  const { app, collection } = await hybrid(t, 600_000)
  await isComplete(app)
  const browser = await logIn(app, 'u')
  const [document] = await collection.find({ payload: { $exists: true } }).toArray() as Array<{ _id: string, tag: string, stamp: number, payload: string, version: string }>
  const { _id: hash, tag, stamp, payload, version } = document!
  await browser.post('/logout')
  await collection.updateOne({ _id: hash }, { $set: { payload, version }, $unset: { ended: '' } }, { upsert: false, promoteValues: true })
  const backup = mongoBackup(collection)
  const ref = { hash, tag, owned: true }
  t.equal(await backup.get(ref), null)
  t.ok(await backup.isEnded(ref, { stamp } as never))
  const [all, ends]: [object[], object[]] = [[], []]
  for await (const entry of backup.all()) all.push(entry)
  for await (const end of backup.ends()) ends.push(end)
  t.same(all, [])
  t.same([...new Map(ends.map((end) => [JSON.stringify(end), end])).values()], [{ ref }])
})

t.test('of a session whose end the backup did not hear of it is told that it ended', async (t) => {
  const { app, collection } = await hybrid(t, 600_000)
  await isComplete(app)
  const [one, two] = [await logIn(app, 'one'), await logIn(app, 'two')]
  const told: string[] = []
  app.sessions.on('ended', ({ userId, reason }) => told.push(`${userId} ${reason}`))
  const { updateOne } = collection
  collection.updateOne = async () => { throw new Error('the backup is away') }
  t.equal((await one.post('/logout')).json().code, 'FST_ERR_REDIS_SESSIONS_BACKUP_UNAVAILABLE')
  await t.rejects(app.sessions.logoutAll('two'), { code: 'FST_ERR_REDIS_SESSIONS_BACKUP_UNAVAILABLE' })
  t.same(told, ['one logout', 'two logout-all'])
  collection.updateOne = updateOne
  for (const browser of [one, two]) t.notOk((await browser.get('/me')).json().userId)
})

t.test('a session is restored as soon as the backup answers, also where it failed in the middle of a restoration', async (t) => {
  const all = await hybrid(t, 600_000)
  const { app, collection } = all
  const [stays, out] = [await logIn(app, 'stays'), await logIn(app, 'out')]
  await isComplete(app)
  const key = app.redisLink.key('sess')
  const forget = async () => all.redis.client.unlink(...await all.redis.client.keys(`${key}:*`))
  const { find } = collection
  let asked = 0
  const failFrom = (from: number) => {
    asked = 0
    collection.find = (...args) => {
      if (++asked >= from) throw new Error('the backup is away')
      return find.apply(collection, args)
    }
  }
  await forget()
  failFrom(2)
  t.equal((await stays.get('/me')).statusCode, 503)
  t.equal((await stays.get('/me')).statusCode, 503, 'and not in Redis meanwhile, of which nobody knows whether it ended')
  collection.find = find
  t.equal((await stays.get('/me')).json().userId, 'stays')
  t.equal((await out.get('/me')).json().userId, 'out')
})

t.test('policy memory with a backup: an outage of the backup is none of Redis, and a logout in an outage of Redis is in the backup at once', async (t) => {
  const all = await hybrid(t, 600_000, { onUnavailable: 'memory' })
  const { app, redis, another } = all
  const [stay, out, everywhere] = [await logIn(app, 'stay'), await logIn(app, 'out'), await logIn(app, 'everywhere')]
  const cookie = out.header()
  await redis.kill()
  await waitFor(() => !app.redisLink.isUp)
  t.equal((await out.post('/logout')).statusCode, 200)
  await app.sessions.logoutAll('everywhere')
  // The process that remembers the logouts ends; Redis comes back without its data.
  await app.close()
  await redis.restart({ empty: true })
  const fresh = await another()
  await waitFor(() => fresh.redisLink.isUp)
  t.notOk((await fresh.inject({ url: '/me', headers: { cookie } })).json().userId)
  t.notOk((await everywhere.get('/me', fresh)).json().userId)
  t.equal((await stay.get('/me', fresh)).json().userId, 'stay')
  await isComplete(fresh)
  const { bulkWrite, updateOne, find } = all.collection
  Object.assign(all.collection, { find () { throw new Error('the backup is away') } })
  t.equal((await fresh.inject({ url: '/me', headers: { cookie } })).statusCode, 503)
  t.equal(fresh.sessions.mode, 'hybrid')
  t.equal((await stay.get('/me', fresh)).json().userId, 'stay')
  Object.assign(all.collection, { bulkWrite, updateOne, find })
})

t.test('the backup has a decoding, a primary and a majority of its own, whatever the client of the application has', async (t) => {
  const { url, db } = await mongo(t)
  const name = uniqueName('sessions')
  const now = Date.now()
  const stored = { version: 'v'.repeat(12), stamp: now * 1000, createdAt: now, touchedAt: now, payload: 'x' }
  const clients: MongoClientOptions[] = [{ raw: true }, { promoteValues: false }, { promoteLongs: false }, { useBigInt64: true }, { fieldsAsRaw: { payload: true } }, { writeConcern: { w: 0 } }]
  for (const [i, options] of clients.entries()) {
    const client = new MongoClient(url, options)
    t.teardown(() => client.close())
    const collection = client.db(db.databaseName).collection(`${name}${i}`) as unknown as MongoBackupCollection
    const asked: object[] = []
    const backup = mongoBackup(Object.assign(Object.create(collection), { find: (filter: object, options: object) => collection.find(filter, asked[asked.push(options) - 1]) }))
    await backup.open({ warn () {} } as unknown as FastifyInstance['log'])
    const [one, other] = [refOf(newId())!, { ...refOf(newId())!, tag: 'tag', owned: true }]
    await backup.put([one, other].map((ref) => ({ ref, stored, expiresAt: now + 60_000 })))
    const text = JSON.stringify(options)
    t.strictSame(await backup.get(one), { ref: one, stored, expiresAt: now + 60_000 }, text)
    await backup.end(one, now + 60_000)
    await backup.put([{ ref: one, stored, expiresAt: now + 60_000 }])
    t.same([await backup.get(one), await backup.isEnded(one, stored)], [null, true], text)
    await backup.endAll('tag', stored.stamp + 1, now + 60_000)
    t.same([await backup.get(other), await backup.isEnded(other, stored)], [null, true], text)
    for await (const entry of backup.all()) t.fail(`${entry.ref.hash} is handed out`)
    t.match(asked, asked.map(() => ({ readPreference: 'primary' })))
  }
  t.throws(() => mongoBackup(db.collection(name) as unknown as MongoBackupCollection, { interval: 5 } as object), { code: 'FST_ERR_REDIS_SESSIONS_INVALID_OPTION', message: /backup.interval is unknown/ })
})
