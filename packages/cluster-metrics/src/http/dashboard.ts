import { readFile } from 'node:fs/promises'
import { failures } from '@jpulse/plugin-kit'
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import type { Guard } from './metrics.ts'

/** What the page may load: its own files. Nothing of it is inline, so the site's own policy can be as strict. */
const CONTENT_SECURITY_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const FILES = [
  { suffix: '', file: 'index.html', type: 'text/html; charset=utf-8' },
  { suffix: '/dashboard.js', file: 'dashboard.js', type: 'text/javascript; charset=utf-8' },
  { suffix: '/charts.js', file: 'charts.js', type: 'text/javascript; charset=utf-8' },
  { suffix: '/dashboard.css', file: 'dashboard.css', type: 'text/css; charset=utf-8' }
] as const

/** The dashboard: a page and its files, read once. */
export async function dashboardRoutes (fastify: FastifyInstance, path: string, apiPrefix: string, may: Guard): Promise<void> {
  fastify.addHook('onRequest', may)
  for (const { suffix, file, type } of FILES) {
    const text = await readFile(new URL(`../../dashboard/${file}`, import.meta.url), 'utf8')
    // Both are paths that the options' schema checked; a quote in one would end the attribute.
    const body = text.replaceAll('%PATH%', encodeURI(path).replaceAll("'", '%27')).replaceAll('%API%', encodeURI(apiPrefix).replaceAll("'", '%27'))
    fastify.get(path + suffix, { schema: { response: { 200: Type.String(), ...failures } } }, async (_request, reply) => reply
      .type(type)
      .header('content-security-policy', CONTENT_SECURITY_POLICY)
      .header('x-content-type-options', 'nosniff')
      .header('cache-control', 'no-store')
      .send(body))
  }
}
