import { posix } from 'node:path'
import { failures } from '@jpulse/plugin-kit'
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { files } from '../../dashboard/files.js'
import type { Guard } from './metrics.ts'

/** What the page may load: its own files. Nothing of it is inline, so the site's own policy can be as strict. */
const CONTENT_SECURITY_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const SCRIPTS = ['dashboard.js', 'page.js', 'cluster.js', 'instance.js', 'health.js', 'tables.js', 'charts.js', 'dom.js']

const FILES = [...SCRIPTS.map((file) => ({ file, type: 'text/javascript; charset=utf-8' })), { file: 'dashboard.css', type: 'text/css; charset=utf-8' }]

/**
 * The dashboard: a page and its files. All addresses in it are relative, so that it works below any path that a
 * proxy or a prefix of Fastify puts before it.
 */
export async function dashboardRoutes (fastify: FastifyInstance, path: string, apiPrefix: string, may: Guard): Promise<void> {
  fastify.addHook('onRequest', may)
  const add = (url: string, type: string, bodyOf: (url: string) => string) => fastify.get(url, { schema: { response: { 200: Type.String(), ...failures } } }, async (request, reply) => reply
    .type(type)
    .header('content-security-policy', CONTENT_SECURITY_POLICY)
    .header('x-content-type-options', 'nosniff')
    .header('cache-control', 'no-store')
    .send(bodyOf(request.url)))

  const page = files['index.html']!
  const pageAt = (base: string, folder: string) => page.replaceAll('%BASE%', attribute(base)).replaceAll('%API%', attribute(posix.relative(folder, apiPrefix || '/') || '.'))
  const plain = pageAt(`${posix.basename(path)}/`, posix.dirname(path))
  const slashed = pageAt('', path)
  // With Fastify's option ignoreTrailingSlash both are addresses of the page.
  add(path, 'text/html; charset=utf-8', (url) => url.split('?', 1)[0]!.endsWith('/') ? slashed : plain)
  for (const { file, type } of FILES) {
    const text = files[file]!
    add(`${path}/${file}`, type, () => text)
  }
}

/** Of paths that the options' schema checked; a quote in one would end the attribute. */
const attribute = (path: string): string => encodeURI(path).replaceAll("'", '%27')
