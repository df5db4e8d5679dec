import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { redisCluster, sharedRedis, waitFor } from '../../../test/helpers/index.ts'
import { Browser, Gates, makeApp } from './support/app.ts'
import { makePeer } from './support/peer.ts'

/** `npm run prove:sessions` makes more of them. */
const TRIALS = Number(process.env.SESSION_TRIALS ?? 50)
/** Of the races whose handlers end in other ways. */
const LOOSE_TRIALS = Math.ceil(TRIALS / 4)

/** An application whose routes log in and out as its stack does; the races are the same for all. */
interface Stack {
  app: FastifyInstance
  gates: Gates
}

interface Trial { browser: Browser, gates: Gates, name: string, user: string }

/** Each returns whether the trial kept its promise. */
const RACES: Record<string, (trial: Trial) => Promise<boolean>> = {
  'two parallel writers both keep what they wrote': async ({ browser, gates, name }) => {
    const writers = ['a', 'b'].map((field) => browser.get(`/write/${field}?gate=${name}`))
    await gates.arrived(name, 2)
    gates.open(name)
    await Promise.all(writers)
    const { a, b } = (await browser.get('/fields')).json()
    return a === 1 && b === 1
  },
  'a slow reader does not bring a session back after logout': async ({ browser, gates, name }) => {
    return ended(browser, name, gates, `/read?gate=${name}`, () => copy(browser).post('/out'))
  },
  'a slow writer does not bring a session back after logout': async ({ browser, gates, name }) => {
    return ended(browser, name, gates, `/write/late?gate=${name}`, () => copy(browser).post('/out'))
  },
  'a slow writer does not bring a session back after logout-all': async ({ browser, gates, name, user }) => {
    return ended(browser, name, gates, `/write/late?gate=${name}`, () => copy(browser).post('/out-all', { user }))
  },
  'a slow reader does not bring the old id back after regenerate': async ({ browser, gates, name }) => {
    return ended(browser, name, gates, `/read?gate=${name}`, () => copy(browser).post('/regenerate'))
  }
}

const LOOSE = ['unreturned', 'stream', 'hijack', 'throw'] as const

/** The same with handlers that do not return their reply and await nothing, that stream, that take the reply over, that throw. */
const LOOSE_RACES: Record<string, (trial: Trial) => Promise<boolean>> = {
  'parallel writers of each kind all keep what they wrote': async ({ browser, gates, name }) => {
    const writers = LOOSE.map((kind) => copy(browser).get(`/${kind}/${kind}?gate=${name}`))
    await gates.arrived(name, LOOSE.length)
    gates.open(name)
    await Promise.all(writers)
    // What is written while a reply streams, or without one, is stored when that has ended.
    return waitFor(async () => {
      const fields = (await browser.get('/fields')).json()
      return LOOSE.every((kind) => fields[kind] === 1)
    }, { timeoutMs: 5000 }).then(() => true, () => false)
  },
  'writers of no kind bring a session back after logout': (trial) => endedForAll(trial, '/out'),
  'writers of no kind bring a session back after logout-all': (trial) => endedForAll(trial, '/out-all'),
  'a login that is not awaited, or whose handler throws, ends with a logout-all that comes after it': async ({ browser, gates, name, user }) => {
    const logins = ['login-unawaited', 'login-throw'].map((path) => new Browser(browser.app).get(`/${path}/${user}?gate=${name}`))
    await gates.arrived(name, 2)
    await browser.post('/out-all', { user })
    gates.open(name)
    const cookies = (await Promise.all(logins)).flatMap((response) => response.cookies.map(({ value }) => `sessionId=${encodeURIComponent(value)}`))
    const users = await Promise.all(cookies.map(async (cookie) => (await browser.app.inject({ url: '/fields', headers: { cookie } })).json().user))
    return users.every((left) => left === undefined) && (await browser.app.sessions.list(user)).length === 0
  }
}

async function endedForAll ({ browser, gates, name, user }: Trial, url: string): Promise<boolean> {
  const writers = LOOSE.map((kind) => copy(browser).get(`/${kind}/late?gate=${name}`))
  await gates.arrived(name, LOOSE.length)
  await copy(browser).post(url, { user })
  gates.open(name)
  // The headers of a stream left before the session ended.
  const responses = (await Promise.all(writers)).filter((_, index) => LOOSE[index] !== 'stream')
  return !responses.some(({ cookies }) => cookies.some(({ value }) => value !== '')) && (await browser.get('/fields')).json().user === undefined &&
    (await browser.app.sessions.list(user)).length === 0
}

function addLooseRoutes (app: FastifyInstance, gates: Gates): void {
  const pass = (request: FastifyRequest) => gates.pass((request.query as { gate: string }).gate)
  const write = (request: FastifyRequest) => { request.session[(request.params as { field: string }).field] = 1 }
  app.get('/unreturned/:field', async (request, reply) => {
    await pass(request)
    write(request)
    request.session.save()
    reply.send('written')
  })
  app.get('/stream/:field', async (request) => Readable.from((async function * () {
    yield 'begun'
    await pass(request)
    write(request)
  })()))
  app.get('/hijack/:field', async (request, reply) => {
    reply.hijack()
    await pass(request)
    write(request)
    reply.raw.end('written')
  })
  app.get('/throw/:field', async (request) => {
    await pass(request)
    write(request)
    throw new Error('after the write')
  })
  app.get('/login-unawaited/:user', async (request, reply) => {
    const { user } = request.params as { user: string }
    await app.sessions.login(request, user, { user })
    await pass(request)
    request.session.late = 1
    request.session.save(() => {})
    reply.send('in')
  })
  app.get('/login-throw/:user', async (request) => {
    const { user } = request.params as { user: string }
    await app.sessions.login(request, user, { user })
    await pass(request)
    throw new Error('after the login')
  })
}

/** A request loads its session and waits; the session ends; the request finishes. Is the session dead for its old cookie? */
async function ended (browser: Browser, name: string, gates: Gates, slow: string, end: () => Promise<unknown>): Promise<boolean> {
  const late = copy(browser)
  const request = late.get(slow)
  await gates.arrived(name)
  await end()
  gates.open(name)
  const response = await request
  const tells = response.cookies.some(({ value }) => value !== '')
  return !tells && (await browser.get('/fields')).json().user === undefined
}

function copy (browser: Browser): Browser {
  const other = new Browser(browser.app)
  for (const [name, cookie] of browser.cookies) other.cookies.set(name, cookie)
  return other
}

function addRoutes (app: FastifyInstance, gates: Gates): void {
  app.get('/write/:field', async (request) => {
    await gates.pass((request.query as { gate: string }).gate)
    request.session[(request.params as { field: string }).field] = 1
    return 'written'
  })
  app.get('/read', async (request) => {
    await gates.pass((request.query as { gate: string }).gate)
    return String(request.session.user)
  })
  app.get('/fields', async ({ session: { cookie: _, ...fields } }) => fields)
  app.post('/regenerate', async (request) => {
    await request.session.regenerate(['user'])
    return 'regenerated'
  })
}

async function ours (t: Test, redis: object, localReads = false): Promise<Stack> {
  const gates = new Gates()
  const app = await makeApp(t, {
    redis,
    // Every request is noted as seen, so that each reader has a write that could go wrong.
    sessions: { touchIntervalMs: 0, localReads },
    routes (app) {
      addRoutes(app, gates)
      addLooseRoutes(app, gates)
      app.post('/in', async (request) => app.sessions.login(request, (request.body as { user: string }).user, { user: (request.body as { user: string }).user }).then(() => 'in'))
      app.post('/out', async (request) => app.sessions.logout(request).then(() => 'out'))
      app.post('/out-all', async (request) => app.sessions.logoutAll((request.body as { user: string }).user))
    }
  })
  return { app, gates }
}

/** Returns how many trials of each race failed. */
async function race ({ app, gates }: Stack, run: (trial: Trial) => Promise<boolean>, trials: number, prefix: string): Promise<number> {
  let failures = 0
  for (let index = 0; index < trials; index++) {
    const name = `${prefix}${index}`
    const browser = new Browser(app)
    await browser.post('/in', { user: name })
    if (!await run({ browser, gates, name, user: name })) failures++
  }
  return failures
}

const stacks: Record<string, (t: Test) => Promise<Stack>> = {
  memory: (t) => ours(t, {}),
  Redis: (t) => ours(t, { url: sharedRedis() }),
  'Redis, from copies': (t) => ours(t, { url: sharedRedis() }, true),
  'Redis Cluster': async (t) => ours(t, { mode: 'cluster', cluster: { nodes: (await redisCluster(t)).nodes.map(({ port }) => ({ port })) } })
}

for (const [where, make] of Object.entries(stacks)) {
  t.test(`on ${where}`, async (t) => {
    const stack = await make(t)
    for (const [promise, run] of Object.entries(RACES)) {
      await t.test(`${promise}, in ${TRIALS} trials`, async (t) => {
        t.equal(await race(stack, run, TRIALS, promise.replaceAll(/\W/g, '')), 0, 'failed trials')
      })
    }
    for (const [promise, run] of Object.entries(LOOSE_RACES)) {
      await t.test(`${promise}, in ${LOOSE_TRIALS} trials`, async (t) => {
        t.equal(await race(stack, run, LOOSE_TRIALS, promise.replaceAll(/\W/g, '')), 0, 'failed trials')
      })
    }
  })
}

t.test('the same races against @fastify/session with connect-redis', async (t) => {
  const gates = new Gates()
  const app = await makePeer(t, sharedRedis())
  const ids = new Map<string, string[]>()
  addRoutes(app, gates)
  app.post('/in', async (request) => {
    const { user } = request.body as { user: string }
    await request.session.regenerate()
    request.session.user = user
    ids.set(user, [...ids.get(user) ?? [], request.session.sessionId])
    return 'in'
  })
  app.post('/out', async (request) => request.session.destroy().then(() => 'out'))
  app.post('/out-all', async (request) => {
    for (const id of ids.get((request.body as { user: string }).user) ?? []) await new Promise<void>((resolve) => request.sessionStore.destroy(id, () => resolve()))
    return 'out'
  })
  for (const [promise, run] of Object.entries(RACES)) {
    const trials = 20
    await t.test(`are lost: not ${promise}`, async (t) => {
      t.equal(await race({ app, gates }, run, trials, promise.replaceAll(/\W/g, '')), trials, 'failed trials')
    })
  }
})

t.test('of eight parallel writers of one session, each keeps its field, 25 times', async (t) => {
  for (const make of [stacks.memory!, stacks.Redis!]) {
    const stack = await make(t)
    for (let trial = 0; trial < 25; trial++) {
      const browser = new Browser(stack.app)
      await browser.post('/in', { user: `eight${trial}` })
      const fields = Array.from({ length: 8 }, (_, index) => `f${index}`)
      const writers = fields.map((field) => copy(browser).get(`/write/${field}?gate=eight${trial}`))
      await stack.gates.arrived(`eight${trial}`, 8)
      stack.gates.open(`eight${trial}`)
      t.same((await Promise.all(writers)).map(({ statusCode }) => statusCode), fields.map(() => 200))
      const stored = (await browser.get('/fields')).json()
      t.ok(fields.every((field) => stored[field] === 1), JSON.stringify(stored))
    }
  }
})
