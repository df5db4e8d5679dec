import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { mongo, redisServer, tcpProxy, uniqueName, waitFor, type TestRedis } from '../../../test/helpers/index.ts'
import { mongoBackup, type EndedSessions, type MongoBackupCollection } from '../src/index.ts'
import { Browser, makeApp } from './support/app.ts'

// What ends in Redis, and then cannot be confirmed by every instance, or noted in the backup.

interface Site {
  redis: TestRedis
  /** Its connection breaks when it has made a change in Redis, before the others confirm. */
  app: FastifyInstance
  other: FastifyInstance
  another: (sessions: object) => Promise<FastifyInstance>
  ended: EndedSessions[]
  /** From here on. */
  breakIt: () => void
  mend: () => void
}

async function site (t: Test, sessions: object = {}): Promise<Site> {
  const redis = await redisServer(t)
  const proxy = await tcpProxy(t, redis.port)
  const siteId = uniqueName()
  const make = (port: number, sessions: object) => makeApp(t, {
    redis: { url: `redis://127.0.0.1:${port}`, siteId, commandTimeoutMs: 500 },
    cache: { confirmTimeoutMs: 200 },
    sessions: { localReads: true, ...sessions }
  })
  const [app, other] = [await make(proxy.port, sessions), await make(redis.port, sessions)]
  await Promise.all([app, other].map((one) => waitFor(() => one.configCache.mode === 'coherent', { what: 'a lease' })))
  const ended: EndedSessions[] = []
  app.sessions.on('ended', (one) => ended.push(one))
  let breaks = false
  const onStep = (message: unknown) => {
    if (!breaks || (message as { step: string }).step !== 'written') return
    breaks = false
    proxy.cut()
  }
  subscribe('jpulse:config-cache:write', onStep)
  t.teardown(() => unsubscribe('jpulse:config-cache:write', onStep))
  return { redis, app, other, another: (sessions) => make(redis.port, sessions), ended, breakIt: () => { breaks = true }, mend: () => proxy.mend() }
}

async function logIn (app: FastifyInstance, user: string): Promise<Browser> {
  const browser = new Browser(app)
  await browser.post('/login', { user })
  return browser
}

/** Everybody has a copy. */
async function read (browser: Browser, ...apps: FastifyInstance[]): Promise<void> {
  for (const app of apps) await browser.get('/me', app)
}

const ENDS: Record<string, (app: FastifyInstance, browser: Browser, user: string, handle: string) => Promise<unknown>> = {
  logout: (_app, browser) => browser.post('/logout').then(({ statusCode }) => { if (statusCode === 503) throw new Error('503') }),
  revoked: (app, _browser, user, handle) => app.sessions.revoke(user, handle),
  'logout-all': (app, _browser, user) => app.sessions.logoutAll(user)
}

for (const [reason, end] of Object.entries(ENDS)) {
  t.test(`of a session that ended and could not be confirmed it is told that it ended: ${reason}`, async (t) => {
    const { app, other, ended, breakIt, mend } = await site(t)
    const browser = await logIn(app, 'u')
    const { handle } = (await browser.get('/me')).json()
    await read(browser, app, other)
    breakIt()
    await t.rejects(end(app, browser, 'u', handle))
    t.same(ended, [{ userId: 'u', handles: [handle], reason }])
    mend()
    t.notOk((await browser.get('/me', other)).json().userId)
  })
}

t.test('a logout-all that could not be confirmed spares in the backup the login that came after it', async (t) => {
  const { db } = await mongo(t)
  const collection = db.collection(uniqueName('sessions')) as unknown as MongoBackupCollection
  const backup = mongoBackup(collection, { intervalMs: 600_000 })
  const { redis, app, other, another, breakIt, mend } = await site(t, { backup })
  const before = await logIn(app, 'u')
  await read(before, app, other)
  breakIt()
  const refused = app.sessions.logoutAll('u')
  refused.catch(() => {})
  await waitFor(async () => (await before.get('/me', other)).json().userId === undefined, { what: 'the logout-all in Redis' })
  const after = await logIn(other, 'u')
  await t.rejects(refused, { code: 'FST_ERR_REDIS_SESSIONS_INCOHERENT' })
  mend()
  // All but the backup is lost.
  await redis.client.unlink(...await redis.client.keys(`${other.redisLink.key('')}*`))
  const fresh = await another({ backup, localReads: false })
  t.equal((await after.get('/me', fresh)).json().userId, 'u')
  t.notOk((await before.get('/me', fresh)).json().userId)
})
