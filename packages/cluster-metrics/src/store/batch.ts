import type { CallScript, RedisClient, RedisLink } from '@jpulse/redis-link'

export type Command = (client: RedisClient, call: CallScript) => unknown

/** Commands that are sent at once: thousands in one go would hold up whoever shares the connection. */
const CHUNK = 500

/** Runs many commands, in pieces. @throws as redisLink.runAll */
export async function runMany (link: RedisLink, commands: readonly Command[]): Promise<unknown[]> {
  const answers: unknown[] = []
  for (let first = 0; first < commands.length; first += CHUNK) answers.push(...await link.runAll(commands.slice(first, first + CHUNK)))
  return answers
}

/** Texts of many keys. The keys of a Redis Cluster lie on several nodes, and MGET asks one. */
export async function getMany (link: RedisLink, keys: string[]): Promise<Array<string | null>> {
  if (keys.length === 0) return []
  if (link.mode === 'cluster') return await runMany(link, keys.map((key) => (client) => client.get(key))) as Array<string | null>
  return link.run((client) => client.mget(keys))
}
