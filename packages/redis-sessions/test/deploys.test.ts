import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { connect, sharedRedis, uniqueName } from '../../../test/helpers/index.ts'
import type { FastifyRedisSessionsOptions } from '../src/index.ts'
import { refOf } from '../src/stores/ids.ts'
import { Browser, makeApp, SECRET, type Setup } from './support/app.ts'

// Instances of one step of a deploy run beside those of the next: nobody is signed out, and no write is lost.

type Step = Partial<FastifyRedisSessionsOptions>

const NEXT = 'another secret of more than thirty-two characters'
const [one, two] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
const https = { 'x-forwarded-proto': 'https' }

/** The steps that the README gives, beginning with what was before. */
const DEPLOYS: Record<string, { steps: Step[], fastify?: Array<Setup['fastify']>, headers?: Record<string, string> }> = {
  'a secret is rotated': { steps: [{}, { secret: [SECRET, NEXT] }, { secret: [NEXT, SECRET] }, { secret: NEXT }] },
  'encryption is switched on': { steps: [{}, { encryption: { keys: [one], writePlain: true } }, { encryption: { keys: [one], acceptPlain: true } }, { encryption: { keys: [one] } }] },
  'encryption is switched off': { steps: [{ encryption: { keys: [one] } }, { encryption: { keys: [one], acceptPlain: true } }, { encryption: { keys: [one], writePlain: true } }, {}] },
  'a key is rotated': { steps: [{ encryption: { keys: [one] } }, { encryption: { keys: [one, two] } }, { encryption: { keys: [two, one] } }, { encryption: { keys: [two] } }] },
  'trustProxy is switched on': {
    steps: [{}, { cookie: { hostPrefix: 'read' } }, { cookie: { hostPrefix: 'write' } }, {}],
    fastify: [{}, { trustProxy: true }, { trustProxy: true }, { trustProxy: true }],
    headers: https
  }
}

/** A visitor whose requests alternate between two steps; writes, and now and then logs in anew. */
async function visit (t: Test, browser: Browser, user: string, apps: [FastifyInstance, FastifyInstance], counts: { writes: number }): Promise<void> {
  for (let index = 0; index < 12; index++) {
    const app = apps[index % 2]!
    if (index === 5) {
      await browser.post('/login', { user, writes: counts.writes }, app)
      continue
    }
    const me = (await browser.get('/me', app)).json()
    t.equal(me.userId, user, 'signed in')
    t.equal(me.fields.writes ?? 0, counts.writes, 'no write is lost')
    await browser.post('/set', { writes: ++counts.writes }, app)
  }
}

for (const [what, { steps, fastify = [], headers = {} }] of Object.entries(DEPLOYS)) {
  t.test(`${what}, step by step as the README says: nobody is signed out, and no write is lost`, async (t) => {
    const redis = { url: sharedRedis(), siteId: uniqueName() }
    const apps = await Promise.all(steps.map((sessions, index) => makeApp(t, { redis, sessions: { touchIntervalMs: 0, ...sessions }, ...(fastify[index] === undefined ? {} : { fastify: fastify[index] }) })))
    const visitors = Array.from({ length: 5 }, (_, index) => ({ browser: new Browser(apps[0]!, headers), user: `u${index}`, counts: { writes: 0 } }))
    for (const { browser, user } of visitors) await browser.post('/login', { user })
    for (let step = 1; step < steps.length; step++) {
      await Promise.all(visitors.map(({ browser, user, counts }) => visit(t, browser, user, [apps[step - 1]!, apps[step]!], counts)))
      // The whole site is at this step now.
      await Promise.all(visitors.map(({ browser, user, counts }) => visit(t, browser, user, [apps[step]!, apps[step]!], counts)))
    }
    for (const { user } of visitors) t.equal((await apps.at(-1)!.sessions.list(user)).length, 1)
  })
}

t.test('a value that another instance can read is left as it is: anonymous, not replaced, counted', async (t) => {
  const redis = { url: sharedRedis(), siteId: uniqueName(), env: 'e' }
  const client = connect(t, Number(new URL(sharedRedis()).port))
  const lines: string[] = []
  const app = await makeApp(t, { redis, sessions: { encryption: { keys: [one] } } })
  const blind = await makeApp(t, { redis, fastify: { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } } })
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u', n: 1 })
  const cookie = browser.header()
  const { hash, tag } = refOf(browser.cookie!.split('.')[0]!)!
  const key = `${redis.siteId}:e:sess:{${tag}}:${hash}`
  const sealed = (await client.get(key))!
  for (const stored of [sealed, `S2${sealed.slice(2)}`, `${sealed.slice(0, 56)}Zsomething`]) {
    await client.set(key, stored)
    const { unreadable } = blind.sessions.stats()
    const read = await browser.get('/me', blind)
    t.equal(read.statusCode, 200)
    t.same(read.json(), { fields: {} })
    t.notOk(read.headers['set-cookie'], 'the cookie stays')
    const write = await browser.post('/set', { n: 2 }, blind)
    t.equal(write.statusCode, 503)
    t.equal(write.json().code, 'FST_ERR_REDIS_SESSIONS_UNREADABLE')
    t.equal(write.headers['retry-after'], '1')
    t.equal(browser.header(), cookie)
    t.equal(await client.get(key), stored)
    t.ok(blind.sessions.stats().unreadable >= unreadable + 2)
  }
  t.equal(lines.filter((line) => /left as it is.*/.test(line) && line.includes('encryption.keys')).length, 1, 'one line in the log')
  await client.set(key, sealed)
  t.match((await browser.get('/me')).json(), { userId: 'u', fields: { n: 1 } })
  await browser.post('/login', { user: 'v' }, blind)
  t.equal((await browser.get('/me', blind)).json().userId, 'v', 'who logs in there is logged in there')
})

t.test('lifetimes of a login are kept in a field that the previous release ignores', async (t) => {
  const redis = { url: sharedRedis(), siteId: uniqueName(), env: 'e' }
  const client = connect(t, Number(new URL(sharedRedis()).port))
  const app = await makeApp(t, { redis, routes: (app) => { app.get('/remember', async (request) => app.sessions.login(request, 'u', {}, { remember: false }).then(() => 'x')) } })
  const [plain, own] = [new Browser(app), new Browser(app)]
  await plain.post('/login', { user: 'u' })
  await own.get('/remember')
  const metaOf = async (browser: Browser) => {
    const { hash, tag } = refOf(decodeURIComponent(browser.cookie!).split('.')[0]!)!
    const text = (await client.get(`${redis.siteId}:e:sess:{${tag}}:${hash}`))!
    t.match(text, /^S1[\w-]{12}\d{42}P\[/)
    return JSON.parse(text.slice(57).split('\n')[0]!)
  }
  t.equal((await metaOf(plain)).length, 4, 'as ever')
  t.match(await metaOf(own), ['u', String, String, String, { remember: false }])
})
