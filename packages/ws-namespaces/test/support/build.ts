import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { clusterBroadcast } from '@jpulse/cluster-broadcast'
import { redisLink, type FastifyRedisLinkOptions } from '@jpulse/redis-link'
import type { Scope } from '../../../../test/helpers/index.ts'
import { wsNamespaces, type FastifyWsNamespacesOptions } from '../../src/index.ts'

export interface Built {
  app: FastifyInstance
  port: number
  /** Messages logged at warn or above. */
  complaints: string[]
}

export interface BuildOptions {
  link?: FastifyRedisLinkOptions
  options?: FastifyWsNamespacesOptions
  pmId?: string
  /** Registers what stands before the plugin, and makes the namespaces. */
  before?: (app: FastifyInstance) => unknown
  setup?: (app: FastifyInstance) => unknown
}

/** An application that listens, closed with the test. */
export async function build (t: Scope, { link = {}, options = {}, pmId = '0', before, setup }: BuildOptions = {}): Promise<Built> {
  const complaints: string[] = []
  const stream = { write: (line: string) => { complaints.push(JSON.parse(line).msg) } }
  const app = Fastify({ logger: { level: 'warn', stream } })
  t.teardown(() => app.close())
  app.register(redisLink, link)
  app.register(clusterBroadcast, { serverId: 'test', pmId })
  await before?.(app)
  app.register(wsNamespaces, options)
  await app.ready()
  await setup?.(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, port: (app.server.address() as AddressInfo).port, complaints }
}

/** Who a client is says its header. */
export const byHeader = async ({ headers }: { headers: Record<string, unknown> }): Promise<{ userId: string } | null> =>
  typeof headers.user === 'string' ? { userId: decodeURIComponent(headers.user) } : null
