import type {} from '@jpulse/cluster-broadcast'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

const CHANNEL = 'hello:notice'
const KEPT = 10

interface Notice { text: string, by: string, from: string, at: number }

/** Notices from one process to all: each keeps the last ones, and says that it has heard. */
interface Notices {
  /** Newest first, as this process heard them. */
  readonly heard: readonly Notice[]
  send (text: string, by: string): Promise<{ instances: string[], missing: string[] }>
}

declare module 'fastify' {
  interface FastifyInstance {
    notices: Notices
  }
}

export default fp(async (app: FastifyInstance) => {
  const { broadcast } = app.appCluster
  const heard: Notice[] = []
  await broadcast.subscribe(CHANNEL, ({ data, instanceId, timestamp }) => {
    const { text, by } = data as { text: string, by: string }
    heard.unshift({ text, by, from: instanceId, at: timestamp })
    heard.length = Math.min(heard.length, KEPT)
    return app.identity.instanceId
  })
  app.decorate('notices', {
    heard,
    async send (text, by) {
      const { replies, missing } = await broadcast.ask(CHANNEL, { text, by })
      return { instances: replies.map(({ instanceId }) => instanceId).sort(), missing: missing.map(String) }
    }
  })
}, { name: 'site-notices', fastify: '5.x', dependencies: ['@jpulse/cluster-broadcast'] })
