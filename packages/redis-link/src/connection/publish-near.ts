import type { RedisClient } from '../options.ts'
import type { CallScript } from '../script/script.ts'
import { publish } from '../script/scripts.ts'

/** What is published, after the channel that it goes to. */
export type ChannelMessage = readonly [channel: string, message: string | Buffer]

/**
 * Publishes on the server that has a key. With a PUBLISH for each the client of a Redis Cluster takes any server: the subscriber near the key would
 * hear it late, and of two messages the second before the first.
 */
export async function publishNear (client: RedisClient, call: CallScript, near: string, messages: readonly ChannelMessage[]): Promise<void> {
  const [first] = messages
  if (first === undefined) return
  if (messages.length > 1 || client.isCluster) await call(publish, { keys: [near], args: messages.flat() })
  else await client.publish(...first)
}
