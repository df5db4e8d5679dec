import configCache, { type FastifyConfigCacheOptions } from '@jpulse/config-cache'
import redisLink, { type FastifyRedisLinkOptions } from '@jpulse/redis-link'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import { uniqueName, waitFor, type Scope } from '../../../../test/helpers/index.ts'
import redisSessions, { type FastifyRedisSessionsOptions } from '../../src/index.ts'

declare module 'fastify' {
  interface Session { [field: string]: unknown }
}

export const SECRET = 'a secret of more than thirty-two characters'

export interface Setup {
  /** Options of redis-link; none for no Redis. */
  redis?: FastifyRedisLinkOptions
  sessions?: Partial<FastifyRedisSessionsOptions>
  /** Options of config-cache, where `localReads` is set. */
  cache?: FastifyConfigCacheOptions
  fastify?: FastifyServerOptions
  routes?: (app: FastifyInstance) => void
}

/** Whether every application that has Redis serves copies of sessions: the suites of `with-copies` set it. */
export const isWithCopies = process.env.SESSION_COPIES === '1'

/** An application with the routes that most tests need. */
export async function makeApp (t: Scope, { redis = {}, sessions = {}, cache = {}, fastify = {}, routes }: Setup = {}): Promise<FastifyInstance> {
  const app = Fastify(fastify)
  t.teardown(() => app.close())
  await app.register(redisLink, { siteId: uniqueName(), commandTimeoutMs: 2000, ...redis })
  const localReads = sessions.localReads ?? (isWithCopies && Object.keys(redis).some((name) => ['url', 'cluster', 'sentinel', 'client'].includes(name)))
  if (localReads !== false) await app.register(configCache, { blockTtlMs: 500, ...isWithCopies ? { leaseMs: 500 } : {}, ...cache })
  await app.register(redisSessions, { secret: SECRET, ...sessions, localReads })
  app.get('/public', async () => 'public')
  app.post('/login', async (request) => {
    const { user, ...data } = request.body as { user: string }
    await app.sessions.login(request, user, data)
    return app.sessions.current(request)
  })
  app.post('/logout', async (request) => {
    await app.sessions.logout(request)
    return 'out'
  })
  app.get('/me', async (request) => ({ ...app.sessions.current(request), fields: fieldsOf(request.session) }))
  app.post('/set', async (request) => {
    Object.assign(request.session, request.body)
    return 'set'
  })
  app.post('/logout-others', async (request) => app.sessions.logoutOthers(request))
  app.post('/logout-all', async (request) => app.sessions.logoutAll((request.body as { user: string }).user))
  app.get('/list', async (request) => app.sessions.list((request.query as { user: string }).user, request))
  routes?.(app)
  await app.ready()
  if (isWithCopies && localReads !== false && cache.enabled !== false) await waitFor(() => !app.redisLink.isUp || app.configCache.mode === 'coherent', { what: 'a lease' })
  return app
}

export function fieldsOf (session: object): Record<string, unknown> {
  const { cookie: _, ...fields } = session as Record<string, unknown>
  return fields
}

/** Typed by itself: @fastify/passport declares a base of the interface Session that hides the one of @fastify/session. */
export function cookieOf (session: object): { expires: Date | null, maxAge: number | null, originalMaxAge: number | null } {
  return (session as { cookie: ReturnType<typeof cookieOf> }).cookie
}

type Response = Awaited<ReturnType<FastifyInstance['inject']>>

/** A browser: keeps cookies, and drops them when they expire. */
export class Browser {
  readonly #headers: Record<string, string>
  readonly cookies = new Map<string, { value: string, expires: number }>()
  app: FastifyInstance

  constructor (app: FastifyInstance, headers: Record<string, string> = {}) {
    this.app = app
    this.#headers = headers
  }

  async get (url: string, app = this.app): Promise<Response> {
    return this.#send({ method: 'GET', url }, app)
  }

  async post (url: string, payload: object = {}, app = this.app): Promise<Response> {
    return this.#send({ method: 'POST', url, payload }, app)
  }

  /** The only cookie's value. */
  get cookie (): string | undefined {
    return [...this.cookies.values()][0]?.value
  }

  header (): string {
    const now = Date.now()
    for (const [name, { expires }] of this.cookies) if (expires <= now) this.cookies.delete(name)
    return [...this.cookies].map(([name, { value }]) => `${name}=${value}`).join('; ')
  }

  /** Keeps what a response sets. */
  keep (response: Response): void {
    for (const { name, value, expires, maxAge } of response.cookies as Array<{ name: string, value: string, expires?: Date, maxAge?: number }>) {
      // Max-Age counts before Expires (RFC 6265, section 5.3), which knows whole seconds only.
      const cookie = { value: encodeURIComponent(value), expires: maxAge === undefined ? Number(expires ?? Infinity) : Date.now() + maxAge * 1000 }
      if (cookie.expires <= Date.now()) this.cookies.delete(name)
      else this.cookies.set(name, cookie)
    }
  }

  async #send (options: InjectOptions, app: FastifyInstance): Promise<Response> {
    const cookie = this.header()
    const response = await app.inject({ ...options, headers: { ...this.#headers, ...(cookie === '' ? {} : { cookie }) } })
    this.keep(response)
    return response
  }
}

/** Holds requests at a point until the test lets them go on. */
export class Gates {
  readonly #gates = new Map<string, { arrived: number, wake: () => void, open: PromiseWithResolvers }>()

  /** The request waits here. */
  async pass (name: string): Promise<void> {
    const gate = this.#gate(name)
    gate.arrived++
    gate.wake()
    await gate.open.promise
  }

  /** Resolves when so many requests wait. */
  async arrived (name: string, count = 1): Promise<void> {
    const gate = this.#gate(name)
    while (gate.arrived < count) await new Promise<void>((resolve) => { gate.wake = resolve })
  }

  open (name: string): void {
    this.#gate(name).open.resolve()
  }

  #gate (name: string) {
    const known = this.#gates.get(name)
    if (known !== undefined) return known
    const gate = { arrived: 0, wake: () => {}, open: deferred() }
    this.#gates.set(name, gate)
    return gate
  }
}

interface PromiseWithResolvers { promise: Promise<void>, resolve: () => void }

function deferred (): PromiseWithResolvers {
  let resolve = () => {}
  const promise = new Promise<void>((_resolve) => { resolve = _resolve })
  return { promise, resolve }
}

/**
 * What a trial found that needs the process to be awake: it is repeated where the process stood still for longer than `limitMs`,
 * in which no session could be noted as seen. What the last one found, where all were disturbed.
 */
export async function undisturbed<T> (limitMs: number, trial: () => Promise<T>, trials = 10): Promise<T> {
  let [last, longest] = [performance.now(), 0]
  const look = () => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
  }
  const timer = setInterval(look, 10)
  const found = await trial().finally(() => clearInterval(timer))
  look()
  return longest > limitMs && trials > 1 ? undisturbed(limitMs, trial, trials - 1) : found
}
