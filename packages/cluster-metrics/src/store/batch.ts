import type { CallScript, RedisClient, RedisLink } from '@jpulse/redis-link'

export type Command = (client: RedisClient, call: CallScript) => unknown

/** Commands that are sent at once: thousands in one go would hold up whoever shares the connection. */
const CHUNK = 500

/** Runs many commands, in pieces. @throws as redisLink.runAll */
export async function runMany (link: RedisLink, commands: readonly Command[], chunk = CHUNK): Promise<unknown[]> {
  const answers: unknown[] = []
  for (let first = 0; first < commands.length; first += chunk) answers.push(...await link.runAll(commands.slice(first, first + chunk)))
  return answers
}

/** Texts that are read at once: one with all the series that there may be is some 100 KB, and others share the connection and its time limit. */
const TEXTS = 25

/**
 * Texts of many keys, in pieces. So they are not of one moment, and need not be: what an instance counted stays under its key for
 * as long as a reader may need that who read the index, or the sum of those that ended, before. The keys of a Redis Cluster lie on
 * several nodes, and MGET asks one.
 */
export async function getMany (link: RedisLink, keys: readonly string[]): Promise<Array<string | null>> {
  const texts: Array<string | null> = []
  for (let first = 0; first < keys.length; first += TEXTS) {
    const some = keys.slice(first, first + TEXTS)
    texts.push(...link.mode === 'cluster' ? await runMany(link, some.map((key) => (client) => client.get(key))) as Array<string | null> : await link.run((client) => client.mget(some)))
  }
  return texts
}
