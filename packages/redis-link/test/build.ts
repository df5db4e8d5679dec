import Fastify, { type FastifyInstance } from 'fastify'
import { uniqueName, type Scope } from '../../../test/helpers/index.ts'
import { redisLink, type FastifyRedisLinkOptions, type RedisChange } from '../src/index.ts'

export interface Built {
  app: FastifyInstance
  /** Messages that the plugin logged at warn or above. */
  complaints: string[]
  /** Transitions since the boot. */
  changes: RedisChange[]
}

/** An application with the plugin, ready, under a site id of its own, closed with the test. */
export async function build (t: Scope, options: FastifyRedisLinkOptions, before?: (app: FastifyInstance) => Promise<void>): Promise<Built> {
  const complaints: string[] = []
  const stream = { write: (line: string) => { complaints.push(JSON.parse(line).msg) } }
  const app = Fastify({ logger: { level: 'warn', stream }, forceCloseConnections: true })
  t.teardown(() => app.close())
  await before?.(app)
  app.register(redisLink, { siteId: uniqueName(), ...options })
  const changes: RedisChange[] = []
  app.after(() => { app.redisLink?.on('change', (change) => changes.push(change)) })
  await app.ready()
  return { app, complaints, changes }
}

/** What a promise was rejected with, and after how many milliseconds; undefined where it was not. */
export async function rejection (promise: Promise<unknown>): Promise<{ code: string | undefined, message: string, ms: number }> {
  const start = performance.now()
  try {
    await promise
  } catch (err) {
    const { code, message } = err as NodeJS.ErrnoException
    return { code, message, ms: performance.now() - start }
  }
  return { code: undefined, message: 'was not rejected', ms: performance.now() - start }
}
