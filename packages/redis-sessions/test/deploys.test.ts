import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { connect, sharedRedis, uniqueName, waitFor, workers, type Worker } from '../../../test/helpers/index.ts'
import { previousRelease, THIS_RELEASE } from '../../../test/mixed-release/previous-release.ts'
import type { FastifyRedisSessionsOptions } from '../src/index.ts'
import { refOf } from '../src/stores/ids.ts'
import { Browser, makeApp, SECRET } from './support/app.ts'

// While a deploy rolls, instances of one step run beside those of the next. Under load nobody may be signed out, and no write lost.

type Step = Partial<FastifyRedisSessionsOptions> & { release?: 'previous' }

interface Deploy {
  /** What the README gives, beginning with what was before. */
  steps: Step[]
  /** Of the steps' servers; none has `trustProxy` where it is missing. */
  trustsProxy?: boolean[]
  https?: boolean
  path?: string
}

/** Rounds of each visitor in each state of the site. */
const ROUNDS = Number(process.env.DEPLOY_ROUNDS ?? 2)
const VISITORS = 3
const NEXT = 'another secret of more than thirty-two characters'
const [one, two] = ['01'.repeat(32), '02'.repeat(32)]

const DEPLOYS: Record<string, Deploy> = {
  'the release before this one is replaced by this one, and that by the former again': { steps: [{ release: 'previous' }, {}, { release: 'previous' }, {}] },
  'a secret is rotated': { steps: [{}, { secret: [SECRET, NEXT] }, { secret: [NEXT, SECRET] }, { secret: NEXT }] },
  'encryption is switched on': { steps: [{}, { encryption: { keys: [one], writePlain: true } }, { encryption: { keys: [one], acceptPlain: true } }, { encryption: { keys: [one] } }] },
  'encryption is switched off': { steps: [{ encryption: { keys: [one] } }, { encryption: { keys: [one], acceptPlain: true } }, { encryption: { keys: [one], writePlain: true } }, {}] },
  'a key is rotated': { steps: [{ encryption: { keys: [one] } }, { encryption: { keys: [one, two] } }, { encryption: { keys: [two, one] } }, { encryption: { keys: [two] } }] },
  'trustProxy is switched on': { steps: [{}, { cookie: { hostPrefix: 'read' } }, { cookie: { hostPrefix: 'write' } }, {}], trustsProxy: [false, true, true, true], https: true },
  'the cookie gets another name': { steps: [{}, { formerCookieNames: ['sid'] }, { cookieName: 'sid', formerCookieNames: ['sessionId'] }, { cookieName: 'sid' }] },
  'the cookie gets a path': { steps: [{}, { cookie: { path: '/app' } }], path: '/app' },
  'the cookie loses its path': { steps: [{ cookie: { path: '/app' } }, {}], path: '/app' },
  'the cookie gets a domain, and by that another name, on https': {
    steps: [{}, { formerCookieNames: ['sessionId'] }, { cookie: { domain: 'example.com' }, formerCookieNames: ['__Host-sessionId'] }, { cookie: { domain: 'example.com' } }],
    trustsProxy: [true, true, true, true],
    https: true
  },
  'lifetimes and limits change': { steps: [{}, { idleTimeoutMs: 60_000, absoluteTimeoutMs: 3600_000, maxBytes: 1000, maxSessionsPerUser: 3 }, { onUnavailable: 'memory' }] }
}

/** Keeps cookies by name, path and domain, and sends those of the longer path first (RFC 6265, section 5.4). */
class Jar {
  readonly #cookies = new Map<string, { pair: string, path: string }>()

  keep (lines: string[]): void {
    for (const line of lines) {
      const [pair, ...attributes] = line.split('; ') as [string, ...string[]]
      const of = (name: string) => attributes.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1) ?? ''
      const key = [pair.split('=')[0], of('Path'), of('Domain')].join(' ')
      this.#cookies.delete(key)
      if (of('Max-Age') !== '0' && !(Date.parse(of('Expires')) <= Date.now())) this.#cookies.set(key, { pair, path: of('Path') })
    }
  }

  get header (): string {
    return [...this.#cookies.values()].toSorted((a, b) => b.path.length - a.path.length).map(({ pair }) => pair).join('; ')
  }
}

/** Two machines behind a balancer that is told before an instance goes. */
class Site {
  readonly #machines: Worker[]
  readonly #deploy: Deploy
  readonly #redis: object
  #live: Array<{ url: string, step: number, inFlight: number }> = []
  #turn = 0

  constructor (machines: Worker[], deploy: Deploy) {
    this.#machines = machines
    this.#deploy = deploy
    this.#redis = { url: sharedRedis(), siteId: uniqueName() }
  }

  /** Brings the machines to a step, one after the other. */
  async reach (step: number): Promise<void> {
    const { release, ...sessions } = this.#deploy.steps[step]!
    const trustProxy = this.#deploy.trustsProxy?.[step] ?? false
    for (const [index, machine] of this.#machines.entries()) {
      const url = await machine.call<string>('start', { id: step, release: release === 'previous' ? previousRelease() : THIS_RELEASE, redis: this.#redis, sessions: { secret: SECRET, touchIntervalMs: 0, ...sessions }, trustProxy })
      const old = this.#live[index]
      this.#live[index] = { url, step, inFlight: 0 }
      if (old === undefined) continue
      await waitFor(() => old.inFlight === 0, { what: 'the requests of the instance that goes', everyMs: 5 })
      await machine.call('stop', old.step)
    }
  }

  async end (): Promise<void> {
    await Promise.all(this.#machines.map((machine, index) => machine.call('stop', this.#live[index]!.step)))
  }

  async ask (jar: Jar, method: 'GET' | 'POST', path: string, body?: object): Promise<{ status: number, body: any }> {
    const instance = this.#live[this.#turn++ % this.#live.length]!
    instance.inFlight++
    try {
      const headers = { cookie: jar.header, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...(this.#deploy.https === true ? { 'x-forwarded-proto': 'https' } : {}) }
      const response = await fetch(`${instance.url}${this.#deploy.path ?? ''}${path}`, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
      jar.keep(response.headers.getSetCookie())
      return { status: response.status, body: await response.json() }
    } finally {
      instance.inFlight--
    }
  }
}

/** Reads and writes, two fields at once on two instances, and now and then logs in anew; says what went wrong. */
class Visitor {
  rounds = 0
  readonly problems: string[] = []
  readonly #jar = new Jar()
  readonly #site: Site
  readonly #user: string
  #written: Record<string, number> = {}

  constructor (site: Site, user: string) {
    this.#site = site
    this.#user = user
  }

  async logIn (): Promise<void> {
    const { status } = await this.#site.ask(this.#jar, 'POST', '/login', { user: this.#user, ...this.#written })
    if (status !== 200) this.problems.push(`login: ${status}`)
  }

  async round (): Promise<void> {
    const { status, body } = await this.#site.ask(this.#jar, 'GET', '/me')
    if (status !== 200 || body.userId !== this.#user) this.problems.push(`signed out: ${status} ${JSON.stringify(body)}`)
    else if (!isDeepStrictEqual(body.fields, this.#written)) this.problems.push(`lost: ${JSON.stringify([body.fields, this.#written])}`)
    const next = { a: this.rounds, b: this.rounds }
    const answers = await Promise.all(Object.entries(next).map(([name, value]) => this.#site.ask(this.#jar, 'POST', '/set', { [name]: value })))
    if (answers.some((answer) => answer.status !== 200)) this.problems.push(`set: ${JSON.stringify(answers)}`)
    this.#written = next
    if (++this.rounds % 5 === 0) await this.logIn()
  }
}

/** Runs a deploy under load. Returns what went wrong. */
async function roll (machines: Worker[], deploy: Deploy): Promise<string[]> {
  const site = new Site(machines, deploy)
  await site.reach(0)
  const visitors = Array.from({ length: VISITORS }, (_, index) => new Visitor(site, `u${index}`))
  await Promise.all(visitors.map((visitor) => visitor.logIn()))
  const over = new AbortController()
  const load = visitors.map(async (visitor) => { while (!over.signal.aborted && visitor.problems.length < 3) await visitor.round() })
  const someRounds = () => {
    const wanted = visitors.map(({ rounds }) => rounds + ROUNDS)
    return waitFor(() => visitors.every(({ rounds, problems }, index) => rounds >= wanted[index]! || problems.length > 0), { what: 'some rounds of every visitor', timeoutMs: 30_000 + 1000 * ROUNDS, everyMs: 5 })
  }
  for (let step = 1; step < deploy.steps.length; step++) {
    await someRounds()
    await site.reach(step)
  }
  await someRounds()
  over.abort()
  await Promise.all(load)
  await site.end()
  return visitors.flatMap(({ problems }) => problems)
}

t.test('deploys that roll under load, step by step as the README says: nobody is signed out, and no write is lost', async (t) => {
  const machines = await workers(t, 2, new URL('fixtures/deploy-worker.js', import.meta.url))
  for (const [what, deploy] of Object.entries(DEPLOYS)) t.same(await roll(machines, deploy), [], what)
  t.not((await roll(machines, { steps: [{}, { secret: NEXT }] })).length, 0, 'a step that is left out is seen')
  t.not((await roll(machines, { steps: [{}, { encryption: { keys: [one] } }] })).length, 0, 'likewise')
})

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
