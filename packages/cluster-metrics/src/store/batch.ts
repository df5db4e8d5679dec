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

/** What a piece may weigh, in characters, where the texts go on as they began: others share the connection and its time limit. */
const PIECE_LENGTH = 2_500_000
/** Texts of the first piece, of which nobody knows how long they are: one with all the series that there may be is some 2 MB. */
const FIRST_TEXTS = 5
const MOST_TEXTS = 200
/** What comes next may be longer. */
const GROWTH = 4

/**
 * Texts of many keys, in pieces: small ones first, and as many as weigh no more once it is known how long they are. So they are not of
 * one moment, and need not be: what an instance counted stays under its key for as long as a reader may need that who read the index, or
 * the sum of those that ended, before. The keys of a Redis Cluster lie on several nodes, and MGET asks one.
 */
export async function getMany (link: RedisLink, keys: readonly string[]): Promise<Array<string | null>> {
  const texts: Array<string | null> = []
  let size = FIRST_TEXTS
  while (texts.length < keys.length) {
    const some = keys.slice(texts.length, texts.length + size)
    const found = link.mode === 'cluster' ? await runMany(link, some.map((key) => (client) => client.get(key))) as Array<string | null> : await link.run((client) => client.mget(some))
    texts.push(...found)
    size = nextSize(some.length, found.reduce((sum, text) => sum + (text?.length ?? 0), 0))
  }
  return texts
}

function nextSize (texts: number, length: number): number {
  const fitting = Math.floor(PIECE_LENGTH / Math.max(1, length / texts))
  return Math.max(1, Math.min(GROWTH * texts, MOST_TEXTS, fitting))
}
