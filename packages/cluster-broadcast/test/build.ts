import Fastify, { type FastifyInstance } from 'fastify'
import { redisLink, type FastifyRedisLinkOptions } from '@jpulse/redis-link'
import type { Scope } from '../../../test/helpers/index.ts'
import { clusterBroadcast, type FastifyClusterBroadcastOptions, type Gap } from '../src/index.ts'

export interface Built {
  app: FastifyInstance
  /** Messages logged at warn or above. */
  complaints: string[]
  gaps: Gap[]
}

/** An application with both plugins, ready, closed with the test. */
export async function build (t: Scope, link: FastifyRedisLinkOptions = {}, options: FastifyClusterBroadcastOptions = {}, before?: (app: FastifyInstance) => Promise<void>): Promise<Built> {
  const complaints: string[] = []
  const stream = { write: (line: string) => { complaints.push(JSON.parse(line).msg) } }
  const app = Fastify({ logger: { level: 'warn', stream } })
  t.teardown(() => app.close())
  await before?.(app)
  app.register(redisLink, link)
  app.register(clusterBroadcast, options)
  const gaps: Gap[] = []
  app.after(() => { app.appCluster?.on('gap', (gap) => gaps.push(gap)) })
  await app.ready()
  return { app, complaints, gaps }
}
