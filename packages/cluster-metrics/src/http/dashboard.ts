import { posix } from 'node:path'
import { failures } from '@jpulse/plugin-kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { files } from '../../dashboard/files.js'
import { FST_ERR_CLUSTER_METRICS_INVALID_OPTION } from '../errors.ts'
import type { DashboardFrame } from '../options.ts'
import type { Guard } from './metrics.ts'

/** What the page may load: its own files. Nothing of it is inline, so the site's own policy can be as strict. */
const CONTENT_SECURITY_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const SCRIPTS = ['dashboard.js', 'page.js', 'cluster.js', 'instance.js', 'health.js', 'tables.js', 'charts.js', 'dom.js']

const FILES = [...SCRIPTS.map((file) => ({ file, type: 'text/javascript; charset=utf-8' })), { file: 'dashboard.css', type: 'text/css; charset=utf-8' }]

/**
 * The dashboard: a page and its files. All addresses in it are relative, so that it works below any path that a
 * proxy or a prefix of Fastify puts before it.
 */
export async function dashboardRoutes (fastify: FastifyInstance, path: string, frame: DashboardFrame | undefined, apiPrefix: string, may: Guard): Promise<void> {
  fastify.addHook('onRequest', may)
  const add = (url: string, type: string, policy: string | null, bodyOf: (request: FastifyRequest) => string | Promise<string>) => fastify.get(url, { schema: { response: { 200: Type.String(), ...failures } } }, async (request, reply) => {
    const body = await bodyOf(request)
    if (policy !== null) reply.header('content-security-policy', policy)
    return reply.type(type).header('x-content-type-options', 'nosniff').header('cache-control', 'no-store').send(body)
  })

  const partsAt = (base: string, folder: string): Parts => {
    const placed = (name: string) => files[name]!.replaceAll('%BASE%', attribute(base)).replaceAll('%API%', attribute(posix.relative(folder, apiPrefix || '/') || '.'))
    return { head: placed('head.html'), body: placed('body.html') }
  }
  const [plain, slashed] = [partsAt(`${posix.basename(path)}/`, posix.dirname(path)), partsAt('', path)]
  // With Fastify's option ignoreTrailingSlash both are addresses of the page.
  const partsOf = ({ url }: FastifyRequest): Parts => url.split('?', 1)[0]!.endsWith('/') ? slashed : plain
  add(path, 'text/html; charset=utf-8', frame === undefined ? CONTENT_SECURITY_POLICY : null, (request) => frame === undefined ? alone(partsOf(request)) : framed(frame, request, partsOf(request)))
  for (const { file, type } of FILES) {
    const text = files[file]!
    add(`${path}/${file}`, type, CONTENT_SECURITY_POLICY, () => text)
  }
}

interface Parts { head: string, body: string }

/** A page of its own. */
const alone = ({ head, body }: Parts): string => files['index.html']!.replace('%HEAD%', () => head).replace('%BODY%', () => body)

async function framed (frame: DashboardFrame, request: FastifyRequest, parts: Parts): Promise<string> {
  const page = await frame(request, { ...parts })
  if (typeof page !== 'string') throw new FST_ERR_CLUSTER_METRICS_INVALID_OPTION('dashboardFrame', 'must return a text, or a promise of one')
  return page
}

/** Of paths that the options' schema checked; a quote in one would end the attribute. */
const attribute = (path: string): string => encodeURI(path).replaceAll("'", '%27')
