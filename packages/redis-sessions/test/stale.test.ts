import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { mongo, redisServer, uniqueName, waitFor, type TestRedis } from '../../../test/helpers/index.ts'
import { mongoBackup, type MongoBackupCollection } from '../src/index.ts'
import { refOf } from '../src/stores/ids.ts'
import { Keys } from '../src/stores/redis/keys.ts'
import { RedisStore } from '../src/stores/redis/redis-store.ts'
import { Browser, makeApp } from './support/app.ts'

interface Setup { redis: TestRedis, app: FastifyInstance, another: () => Promise<FastifyInstance>, complete: () => Promise<string | null> }

/** A user of Redis who may not call INFO. */
const NO_INFO = ['--user', 'app', 'on', '>password', '~*', '&*', '+@all', '-info']

/** A Redis that comes back with what the last SAVE wrote, and no batch of the backup in the time of a test. */
async function setup (t: Test, { args = [], username, sweep, lines = [] }: { args?: string[], username?: string, sweep?: () => Promise<void>, lines?: string[] } = {}): Promise<Setup> {
  const redis = await redisServer(t, { args: ['--save', '', ...args] })
  const { db } = await mongo(t)
  const collection = db.collection(uniqueName('sessions')) as unknown as MongoBackupCollection
  const siteId = uniqueName()
  const user = username === undefined ? {} : { username, password: 'password' }
  const backup = () => sweep === undefined ? mongoBackup(collection, { intervalMs: 600_000 }) : Object.assign(mongoBackup(collection, { intervalMs: 100 }), { sweep })
  const another = () => makeApp(t, { fastify: { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } }, redis: { url: redis.url, siteId, probeIntervalMs: 200, ...user }, sessions: { backup: backup() } })
  const app = await another()
  const key = app.redisLink.key('session-backup', '{job}', 'complete')
  return { redis, app, another, complete: () => redis.client.get(key) }
}

async function logIn (app: FastifyInstance, user: string): Promise<Browser> {
  const browser = new Browser(app)
  await browser.post('/login', { user })
  return browser
}

const copy = ({ app, cookies }: Browser) => {
  const browser = new Browser(app)
  for (const [name, cookie] of cookies) browser.cookies.set(name, cookie)
  return browser
}

async function fallBack ({ redis, app }: Setup): Promise<void> {
  await redis.kill()
  await waitFor(() => !app.redisLink.isUp)
  await redis.restart()
  await waitFor(() => app.redisLink.isUp)
}

/** Users, of whom some log out after the snapshot. */
async function snapshotThenLogouts (t: Test, { redis, app }: Setup) {
  const [stay, out, everywhere, others, pressing, anonymous] = [await logIn(app, 'stay'), await logIn(app, 'out'), await logIn(app, 'everywhere'), await logIn(app, 'others'), await logIn(app, 'others'), new Browser(app)]
  await anonymous.post('/set', { n: 1 })
  await redis.client.save()
  const gone = [out, everywhere, others, anonymous].map(copy)
  t.equal((await out.post('/logout')).statusCode, 200)
  t.equal((await anonymous.post('/logout')).statusCode, 200)
  await app.sessions.logoutAll('everywhere')
  t.equal((await pressing.post('/logout-others')).body, '1')
  const late = await logIn(app, 'everywhere')
  return { stay: [stay, pressing, late], gone }
}

async function check (t: Test, stay: Browser[], gone: Browser[]): Promise<void> {
  for (const browser of gone) t.same(await copy(browser).get('/me').then((response) => response.json()), { fields: {} }, 'out')
  for (const browser of stay) t.ok((await browser.get('/me')).json().userId, 'in')
}

t.test('a Redis that comes back with an older state brings no logout back', async (t) => {
  const all = await setup(t)
  await waitFor(async () => await all.complete() !== null)
  const { stay, gone } = await snapshotThenLogouts(t, all)
  await fallBack(all)
  await check(t, stay, gone)
  await waitFor(async () => await all.complete() === all.app.redisLink.epoch, { what: 'the ends to be in Redis' })
  const { app } = all
  const store = new RedisStore(app.redisLink, new Keys((...parts) => app.redisLink.key(...parts)), { idleTimeoutMs: 60_000, absoluteTimeoutMs: 600_000 })
  t.teardown(() => store.close())
  for (const browser of gone) t.equal(await store.read(refOf(browser.cookie!.split('.')[0]!)!), null)
  await check(t, stay, gone)
})

t.test('sessions that ended are taken out of such a Redis before anybody asks for them', async (t) => {
  const all = await setup(t)
  await waitFor(async () => await all.complete() !== null)
  const { stay, gone } = await snapshotThenLogouts(t, all)
  await fallBack(all)
  const { app } = all
  await waitFor(async () => await all.complete() === app.redisLink.epoch, { what: 'the ends to be in Redis' })
  const store = new RedisStore(app.redisLink, new Keys((...parts) => app.redisLink.key(...parts)), { idleTimeoutMs: 60_000, absoluteTimeoutMs: 600_000 })
  t.teardown(() => store.close())
  for (const browser of gone) t.equal(await store.read(refOf(browser.cookie!.split('.')[0]!)!), null)
  await check(t, stay, gone)
})

t.test('until that is done, each session is looked up in the backup', async (t) => {
  const all = await setup(t)
  const { app, redis, another } = all
  await waitFor(async () => await all.complete() !== null)
  // Somebody else holds it, also in the state that Redis comes back with.
  await waitFor(async () => await app.redisLink.tryLock('sessions:restore', 600_000) !== null, { what: 'the lock of the first restoration' })
  const { stay, gone } = await snapshotThenLogouts(t, all)
  await fallBack(all)
  t.not(await all.complete(), app.redisLink.epoch)
  t.equal((await app.inject('/list?user=others')).json().length, 1)
  t.equal((await app.inject('/list?user=everywhere')).json().length, 0)
  await check(t, stay, gone)
  t.not(await all.complete(), app.redisLink.epoch)
  await redis.client.del(app.redisLink.key('lock', 'sessions:restore'))
  const fresh = await another()
  await waitFor(async () => await all.complete() === fresh.redisLink.epoch)
  await check(t, stay, gone)
})

t.test('where the epoch of Redis is not told, what was known of the one before a break does not count', async (t) => {
  let isHeld = false
  const lines: string[] = []
  const release = new Promise<void>((resolve) => { t.teardown(resolve) })
  const all = await setup(t, {
    args: NO_INFO,
    username: 'app',
    lines,
    // A batch under way, which keeps the next look at Redis waiting.
    async sweep () {
      isHeld = true
      await release
    }
  })
  const { app, redis } = all
  await waitFor(() => isHeld)
  t.equal(app.redisLink.epoch, null)
  t.equal(await all.complete(), 'unknown')
  // The state that Redis comes back with is from before the mark.
  const key = app.redisLink.key('session-backup', '{job}', 'complete')
  await redis.client.del(key)
  const { stay, gone } = await snapshotThenLogouts(t, all)
  await redis.client.set(key, 'unknown')
  await check(t, stay, gone)
  await fallBack(all)
  t.equal(await all.complete(), null)
  await check(t, stay, gone)
  const said = () => lines.filter((line) => /a batch of the session backup is under way for 3 intervals/.test(line)).length
  await waitFor(() => said() > 0)
  t.equal(said(), 1)
})
