import type { Cluster, Redis } from 'ioredis'
import { FST_ERR_REDIS_LINK_UNAVAILABLE } from './errors.ts'

type FlushQueue = (error: Error, queues?: { commandQueue?: boolean, offlineQueue?: boolean }) => void

/**
 * Makes a Redis Cluster reject what waits for an answer when the connection to its node closes.
 *
 * ioredis gives that the same error as what was never sent, and sends both again, even what has timed out long ago: an
 * INCR counts twice. `retryDelayOnFailover: 0` stops it for both, but what was never sent must go on: right after a
 * failover or a move of slots every command but the first finds the connection to the new node not open yet. So the
 * commands that were sent get an error of their own. ioredis tells the two apart in `flushQueue` only, which is not part
 * of its documented interface: cluster-commands.test.ts stands guard over that.
 */
export function rejectLostAnswers (cluster: Cluster): Cluster {
  return cluster.on('+node', (node: Redis) => {
    const inner = node as unknown as { flushQueue: FlushQueue }
    const flush = inner.flushQueue.bind(node)
    inner.flushQueue = (error, queues) => {
      if (error.message !== 'Connection is closed.') return flush(error, queues)
      const lost = new FST_ERR_REDIS_LINK_UNAVAILABLE('the connection closed before the answer came; whether the command was carried out is unknown')
      flush(lost, { ...queues, offlineQueue: false })
      flush(error, { ...queues, commandQueue: false })
    }
  })
}
