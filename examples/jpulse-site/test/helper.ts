import type {} from '@jpulse/redis-link'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { serversEnv, type Scope } from '../../../test/helpers/index.ts'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import { prepare } from '../src/prepare.ts'
// For their decorators' types.
import type {} from '../src/auth/accounts.ts'
import type {} from '../src/documents.ts'
import type {} from '../src/live/endpoints.ts'
import type {} from 'server-kit'

export type Mode = 'embedded' | 'servers'
export const MODES: readonly Mode[] = ['embedded', 'servers']

/** The site in this process, not listening. It closes with the test. */
export async function site (t: Scope, env: Record<string, string> = {}): Promise<FastifyInstance> {
  const app = await buildApp(loadConfig({ LOG_LEVEL: 'silent', SERVER_ID: '025', SEED_PEOPLE: '0', PASSWORD_COST: '10', ...env }))
  t.teardown(() => app.close())
  return app
}

export async function siteIn (t: Scope, mode: Mode, env: Record<string, string> = {}): Promise<FastifyInstance> {
  return site(t, mode === 'servers' ? { ...await serversEnv(t), ...env } : env)
}

/** A submitted HTML form. */
export const form = (fields: Record<string, string>) => ({
  method: 'POST' as const,
  url: '/guestbook',
  headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'text/html' },
  payload: new URLSearchParams(fields).toString()
})

/** An account of each test's own. */
export const PASSWORD = 'correct horse battery'

/** The headers of a browser that sends a form of this site. */
const FORM = { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin', accept: 'text/html' }

/** A browser without a window: it keeps cookies, follows nothing, and sends forms and JSON. */
export class Client {
  readonly #app: FastifyInstance
  readonly cookies = new Map<string, string>()

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  get cookie (): string {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  get (url: string, headers: Record<string, string> = { accept: 'text/html' }) {
    return this.send({ method: 'GET', url, headers })
  }

  form (url: string, fields: Record<string, string> = {}, headers: Record<string, string> = {}) {
    return this.send({ method: 'POST', url, headers: { ...FORM, ...headers }, payload: new URLSearchParams(fields).toString() })
  }

  json (method: 'POST' | 'PUT' | 'DELETE', url: string, payload?: object, headers: Record<string, string> = {}) {
    return this.send({ method, url, headers, ...(payload !== undefined && { payload }) })
  }

  async send (request: InjectOptions) {
    const cookie = this.cookie
    const response = await this.#app.inject({ ...request, headers: { ...request.headers, ...(cookie !== '' && { cookie }) } })
    for (const { name, value } of response.cookies) {
      if (value === '') this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
    return response
  }

  /** Signs up, and so in. */
  async signUp (username: string) {
    return this.form('/sign-up', { username, email: `${username}@example.org`, password: PASSWORD })
  }

  async status () {
    return (await this.get('/api/1/auth/status')).json().data
  }
}

/** The variables of a site with an administrator. */
export const ADMIN = { ADMIN_USERNAME: 'admin', ADMIN_EMAIL: 'admin@example.org', ADMIN_PASSWORD: PASSWORD }

/** A site with an administrator, who is signed in. */
export async function adminSite (t: Scope, mode: Mode, env: Record<string, string> = {}) {
  const app = await siteIn(t, mode, { ...ADMIN, ...env })
  await app.ready()
  await prepare(app, loadConfig({ ...ADMIN, SEED_PEOPLE: '0', PASSWORD_COST: '10', ...env }))
  const admin = new Client(app)
  await admin.json('POST', `${env.BASE_PATH ?? ''}/api/1/auth/login`, { username: 'admin', password: PASSWORD })
  return { app, admin }
}
