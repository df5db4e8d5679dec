import Fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import { clusterBroadcast } from '@jpulse/cluster-broadcast'
import { redisLink, type FastifyRedisLinkOptions } from '@jpulse/redis-link'
import type { Scope } from '../../../test/helpers/index.ts'
import fp from 'fastify-plugin'
import type { Parts } from '../src/cluster-metrics.ts'
import type { ClusterData, FastifyClusterMetricsOptions } from '../src/index.ts'
import { install } from '../src/install.ts'

export interface Built {
  app: FastifyInstance
  /** Everything that was logged, line by line. */
  lines: string[]
  parts: Parts
}

export interface BuildOptions {
  link?: FastifyRedisLinkOptions
  serverId?: string
  pmId?: string
  options?: FastifyClusterMetricsOptions
  server?: FastifyServerOptions
  /** Routes of the application. */
  routes?: (app: FastifyInstance) => void
  /** What the application registers after the plugin, on its level. */
  plugins?: (app: FastifyInstance) => void
}

export const ADMIN = { who: 'admin' }

const authorize: NonNullable<FastifyClusterMetricsOptions['authorize']> = async ({ headers }) => {
  if (headers.who === 'forbidden') throw Object.assign(new Error('Not you'), { statusCode: 403, code: 'NOT_YOU' })
  return headers.who === 'admin'
}

/** An application with the plugin, ready, closed with the test. It reports often, so that tests need not wait. */
export async function build (t: Scope, { link = {}, serverId = 'web1', pmId = '0', options = {}, server = {}, routes, plugins }: BuildOptions = {}): Promise<Built> {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'debug', stream: { write: (line: string) => { lines.push(line) } } }, forceCloseConnections: true, ...server })
  t.teardown(() => app.close())
  app.register(redisLink, link)
  app.register(clusterBroadcast, { serverId, pmId })
  let parts: Parts
  app.register(fp(async (scope) => { parts = await install(scope, { authorize, reportIntervalMs: 200, ...options }) }, { name: '@jpulse/cluster-metrics' }))
  plugins?.(app)
  if (routes !== undefined) app.register(async (scope) => routes(scope))
  await app.ready()
  return { app, lines, parts: parts! }
}

/** Answer of a route, parsed. */
export async function ask (app: FastifyInstance, url: string, options: InjectOptions = { headers: ADMIN }) {
  const { statusCode, body, headers } = await app.inject({ url, ...options })
  return { statusCode, body, headers, json: () => JSON.parse(body) }
}

/** `data` of a JSON route, as who is authorized sees it. */
export async function data<T = ClusterData> (app: FastifyInstance, url = '/api/1/metrics'): Promise<T> {
  const { statusCode, body, json } = await ask(app, url)
  if (statusCode !== 200) throw new Error(`${statusCode}: ${body}`)
  return json().data
}
