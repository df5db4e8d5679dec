import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { sharedRedis, waitFor } from '../../../test/helpers/index.ts'
import { Browser, fieldsOf, Gates, makeApp, undisturbed, type Setup } from './support/app.ts'

// When a request looks at its session: one that does not is spared it, and who looks late finds what was there when it came.

const LARGE = Array.from({ length: 100 }, (_, n) => ({ n, of: ['a', n] }))

const SETUPS: Record<string, Setup> = {
  memory: {},
  Redis: { redis: { url: sharedRedis() } },
  copies: { redis: { url: sharedRedis() }, sessions: { localReads: true } }
}

async function serve (t: Test, setup: Setup, more: Setup = {}): Promise<FastifyInstance> {
  const app = await makeApp(t, { ...setup, ...more, sessions: { ...setup.sessions, ...more.sessions } })
  if (setup.sessions?.localReads === true) await waitFor(() => app.configCache.mode === 'coherent', { what: 'a lease', timeoutMs: 30_000 })
  return app
}

/** Logged in, with a session that is at hand. */
async function login (app: FastifyInstance, fields: object = {}): Promise<Browser> {
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u', ...fields })
  await browser.get('/me')
  return browser
}

for (const [kind, setup] of Object.entries(SETUPS)) {
  t.test(`a request that does not look at its session waits for no store, and its reply says nothing of it (${kind})`, async (t) => {
    const app = await serve(t, setup)
    const browser = await login(app, { n: 1 })
    let reads = 0
    const { store } = app.sessions
    const { read } = store
    store.read = (ref) => { reads++; return read.call(store, ref) }
    const { statusCode, headers } = await browser.get('/public')
    t.equal(statusCode, 200)
    t.equal(headers['set-cookie'], undefined)
    t.equal(reads, kind === 'Redis' ? 1 : 0)
    t.same((await browser.get('/me')).json().fields, { n: 1 })
    await browser.post('/logout')
    t.same((await browser.get('/me')).json(), { fields: {} }, 'who is logged out is nobody')
  })

  t.test(`who looks late finds what was there when the request came, and what it writes is merged (${kind})`, async (t) => {
    const gates = new Gates()
    const app = await serve(t, setup, {
      routes: (app) => {
        app.get('/late', async (request) => {
          await gates.pass('late')
          const before = fieldsOf(request.session)
          request.session.late = true
          return before
        })
      }
    })
    const browser = await login(app, { n: 1 })
    const late = browser.get('/late')
    await gates.arrived('late')
    await browser.post('/set', { n: 2 })
    gates.open('late')
    t.same((await late).json(), { n: 1 })
    t.same((await browser.get('/me')).json().fields, { n: 2, late: true })
  })

  t.test(`who looks after a logout elsewhere brings nobody back (${kind})`, async (t) => {
    const gates = new Gates()
    const app = await serve(t, setup, {
      routes: (app) => {
        app.get('/late', async ({ session }) => session)
        app.get('/later', async (request) => {
          await gates.pass('later')
          request.session.late = true
          return 'written'
        })
      }
    })
    const browser = await login(app)
    const later = browser.get('/later')
    await gates.arrived('later')
    await app.sessions.logoutAll('u')
    gates.open('later')
    t.equal((await later).statusCode, 200)
    t.equal((await later).headers['set-cookie'], undefined)
    t.same((await browser.get('/me')).json(), { fields: {} })
    t.equal(await app.sessions.count().then((count) => kind === 'memory' ? count : 0), 0)
  })

  t.test(`objects in a session are the request's own, and a change within one is found (${kind})`, async (t) => {
    const gates = new Gates()
    const changes: Record<string, (session: any) => void> = {
      deep: (session) => { session.small.a[0].b = 2 },
      longer: (session) => { session.small.a.push(1) },
      large: (session) => { session.large[50].of[0] = 'b' },
      replaced: (session) => { session.large = [1] },
      deleted: (session) => { delete session.large },
      anew: (session) => { delete session.large; session.large = [2] },
      order: (session) => { session.small = { z: 1, a: session.small.a } },
      date: (session) => { session.small.a = new Date(0) }
    }
    const app = await serve(t, setup, {
      routes: (app) => {
        app.get('/change/:how', async (request) => {
          changes[(request.params as { how: string }).how]!(request.session)
          return request.session.isModified()
        })
        app.get('/change-not', async ({ session }) => [JSON.stringify(session.small), Object.keys(session), { ...session }.large, session.isModified()])
        app.get('/held', async ({ session }) => { await gates.pass('held'); return fieldsOf(session) })
      }
    })
    for (const [how, change] of Object.entries(changes)) {
      const fields = { large: LARGE, small: { a: [{ b: 1 }], z: null }, n: 1 }
      const browser = await login(app, fields)
      t.same((await browser.get('/change-not')).json(), [JSON.stringify(fields.small), ['cookie', 'large', 'small', 'n'], LARGE, false])
      const held = browser.get('/held')
      await gates.arrived('held')
      t.equal((await browser.get(`/change/${how}`)).json(), true, how)
      const expected = structuredClone(fields)
      change(expected)
      t.equal(JSON.stringify((await browser.get('/me')).json().fields.small), JSON.stringify(expected.small), how)
      t.same((await browser.get('/me')).json().fields, JSON.parse(JSON.stringify(expected)), how)
      gates.open('held')
      t.same((await held).json(), fields, 'and of no other request')
    }
  })

  t.test(`large objects in a session are printed, frozen, sealed and cloned like any (${kind})`, async (t) => {
    const ways: Record<string, (session: any) => unknown> = {
      print: (session) => [inspect(session, { depth: 0, breakLength: Infinity }).replace(/cookie: .*?, (?=n)/, ''), inspect({ session }, { depth: 1 }).includes('Getter'), session.isModified()],
      freeze: (session) => {
        Object.freeze(session)
        const refused = [() => { session.large = 1 }, () => { session.n = 2 }, () => { delete session.large }].map((change) => { try { change(); return false } catch (err) { return err instanceof TypeError } })
        const { large } = session
        large[0].n = 'frozen'
        return [session.large === large, ...refused, session.isModified()]
      },
      seal: (session) => {
        Object.seal(session)
        const before = session.large.length
        session.large = ['sealed']
        return [before, session.large]
      },
      clone: (session) => {
        const clone = Object.create(Object.prototype, Object.getOwnPropertyDescriptors(session))
        const { large } = clone
        large.push('cloned')
        const other = Object.create(Object.prototype, Object.getOwnPropertyDescriptors(session))
        other.large = 'of the copy alone'
        return [clone.large === large, session.large.at(-1)]
      }
    }
    const app = await serve(t, setup, { routes: (app) => { app.get('/way/:way', async (request) => ways[(request.params as { way: string }).way]!(request.session) ?? null) } })
    const after = async (way: string) => {
      const browser = await login(app, { n: 1, large: LARGE })
      return [(await browser.get(`/way/${way}`)).json(), (await browser.get('/me')).json().fields.large]
    }
    t.same(await after('print'), [['Session { n: 1, large: [Array] }', false, false], LARGE])
    t.same(await after('freeze'), [[true, true, true, true, true], [{ ...LARGE[0], n: 'frozen' }, ...LARGE.slice(1)]])
    t.same(await after('seal'), [[100, ['sealed']], ['sealed']])
    t.same(await after('clone'), [[true, 'cloned'], [...LARGE, 'cloned']])
  })

  t.test(`a request that does not look is activity, unless its route says that it is none (${kind})`, async (t) => {
    const app = await serve(t, setup, { sessions: { touchIntervalMs: 50 }, routes: (app) => { app.get('/poll', { config: { session: { activity: false } } }, async () => 'poll') } })
    const browser = await login(app)
    const lastSeen = async () => (await app.sessions.list('u'))[0]!.lastSeenAt
    const first = await lastSeen()
    await waitFor(() => (app.sessions.store.now?.() ?? Date.now()) > first + 60, { what: 'the interval to be over' })
    t.equal((await browser.get('/poll')).headers['set-cookie'], undefined)
    t.equal(await lastSeen(), first)
    t.ok((await browser.get('/public')).headers['set-cookie'], 'the cookie is renewed')
    t.ok(await lastSeen() > first)
  })

  t.test(`a long request that does not look keeps its session alive (${kind})`, async (t) => {
    const alive = await undisturbed(100, async () => {
      const app = await serve(t, setup, { sessions: { idleTimeoutMs: 600 }, routes: (app) => { app.get('/long', async () => { await sleep(1500); return 'long' }) } })
      const browser = await login(app)
      await browser.get('/long')
      return (await app.sessions.list('u')).length
    })
    t.equal(alive, 1)
  })

  t.test(`what is put in place of a session at which nobody looked (${kind})`, async (t) => {
    const app = await serve(t, setup, {
      routes: (app) => {
        app.get('/end', async (request) => { request.session = null as never; return 'ended' })
        app.get('/refused', async (request, reply) => { app.sessions.login(request, ''); reply.send('x') })
      }
    })
    const browser = await login(app)
    t.equal((await browser.get('/refused')).json().code, 'FST_ERR_REDIS_SESSIONS_INVALID_USER')
    t.match((await browser.get('/end')).headers['set-cookie'], /Max-Age=0|Expires=Thu, 01 Jan 1970/)
    t.same(await app.sessions.list('u'), [])
  })
}
