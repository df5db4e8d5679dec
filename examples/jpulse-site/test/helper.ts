import type {} from '@jpulse/redis-link'
import type { FastifyInstance } from 'fastify'
import { serversEnv, type Scope } from '../../../test/helpers/index.ts'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
// For their decorators' types.
import type {} from 'server-kit'

export type Mode = 'embedded' | 'servers'
export const MODES: readonly Mode[] = ['embedded', 'servers']

/** The site in this process, not listening. It closes with the test. */
export async function site (t: Scope, env: Record<string, string> = {}): Promise<FastifyInstance> {
  const app = await buildApp(loadConfig({ LOG_LEVEL: 'silent', SERVER_ID: '025', ...env }))
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
