import { channel } from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'
import type { EndedSessions, Sessions } from './sessions.ts'

const endedChannel = channel('jpulse:redis-sessions:ended')

/** Tells the application, and every instance, that sessions ended. Never rejects: the sessions are dead already. */
export function announcer (fastify: FastifyInstance, sessions: () => Sessions): (ended: EndedSessions) => Promise<void> {
  return async (ended) => {
    endedChannel.publish(ended)
    try {
      sessions().emit('ended', ended)
    } catch (err) {
      fastify.log.error({ err }, 'a listener of ended sessions failed')
    }
  }
}
