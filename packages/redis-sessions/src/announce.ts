import { channel } from 'node:diagnostics_channel'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { EndedSessions, Sessions } from './sessions.ts'

/** What is used of `fastify.appCluster` where the application registered @jpulse/cluster-broadcast. */
interface AppCluster {
  internal (prefix: 'session'): { publish (channel: string, data: EndedSessions): Promise<unknown> }
}

/** So many handles fit into one message. */
const SLICE = 5000

const endedChannel = channel('jpulse:redis-sessions:ended')

/**
 * Tells the application, and by the broadcast `session:ended` every plugin on every instance, that sessions ended. Never
 * rejects: the sessions are dead already, and whoever missed the message is refused at the next look.
 */
export function announcer (fastify: FastifyInstance, sessions: () => Sessions, log: FastifyBaseLogger): (ended: EndedSessions) => Promise<void> {
  return async (ended) => {
    endedChannel.publish(ended)
    try {
      sessions().emit('ended', ended)
    } catch (err) {
      log.error({ err }, 'a listener of ended sessions failed')
    }
    const { appCluster } = fastify as { appCluster?: AppCluster }
    if (appCluster === undefined) return
    try {
      const broadcast = appCluster.internal('session')
      // Without handles the message still says that all of the user's sessions ended.
      for (let first = 0; first === 0 || first < ended.handles.length; first += SLICE) {
        await broadcast.publish('session:ended', { ...ended, handles: ended.handles.slice(first, first + SLICE) })
      }
    } catch (err) {
      log.error({ err }, 'the end of sessions could not be broadcast')
    }
  }
}
