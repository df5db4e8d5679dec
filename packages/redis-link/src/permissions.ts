import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { installedNeeds, siteRules, type RedisNeeds } from './acl.ts'
import { isReply } from './connection/refusals.ts'
import type { RedisLink } from './link.ts'
import type { RedisClient } from './options.ts'
import { may } from './script/scripts.ts'

/** A rule, and a command that is refused without it. */
interface Need {
  readonly rule: string
  readonly command: readonly string[]
}

/**
 * Arguments for each command that a package needs: K stands for a key and C for a channel. As many as it takes, because a
 * server may end where it is asked about one that is too short.
 */
const ARGUMENTS: Record<string, string> = {
  ...Object.fromEntries(['del', 'exists', 'get', 'hgetall', 'mget', 'pttl', 'srandmember', 'unlink', 'zcard'].map((name) => [name, 'K'])),
  ...Object.fromEntries(['hdel', 'hexists', 'hget', 'hmget', 'hscan', 'incrby', 'lpush', 'pexpire', 'sadd', 'set', 'srem', 'zrem', 'zscore'].map((name) => [name, 'K 1'])),
  ...Object.fromEntries(['getrange', 'hincrby', 'hset', 'hsetnx', 'lrange', 'ltrim', 'setrange', 'xrange', 'zadd', 'zrange', 'zrangebyscore', 'zremrangebyscore'].map((name) => [name, 'K 1 1'])),
  eval: 'return 0',
  evalsha: `${'0'.repeat(40)} 0`,
  publish: 'C 1',
  renamenx: 'K K',
  scan: '0',
  subscribe: 'C',
  time: '',
  unsubscribe: 'C',
  xadd: 'K * 1 1'
}

/**
 * Says, once, what the Redis user lacks of what the plugins that are registered need, and the rule that cures it. Redis 7 and
 * Valkey are asked from within a script, for which no further permission is needed; Redis 6.2 is shown the commands in a
 * transaction that is discarded, where the user may begin one.
 */
export function checkPermissions (fastify: FastifyInstance, link: RedisLink, log: FastifyBaseLogger): void {
  const look = async (): Promise<void> => {
    const needs = [...new Map([...installedNeeds(import.meta.dirname), ...installedNeeds(process.cwd())])].filter(([name]) => fastify.hasPlugin(name))
    const missing = await missingRules(link, needs.map(([, one]) => one))
    if (missing === null) log.debug('whether the Redis user lacks a permission cannot be asked')
    else if (missing.length > 0) {
      const user = link.username
      log.error({ user, missing }, `the Redis user "${user}" lacks permissions that the plugins need, and some of what they do will fail. This cures it: ACL SETUSER ${user} ${missing.join(' ')}`)
    }
  }
  const onUp = (): void => {
    link.off('up', onUp)
    look().catch((err: unknown) => log.debug({ err }, 'whether the Redis user lacks a permission cannot be told'))
  }
  if (link.isUp) onUp()
  else link.on('up', onUp)
}

/** Commands of these needs whose arguments are not known here, so that nobody is asked about them. */
export function unknownCommands ({ commands, optional = [] }: RedisNeeds): string[] {
  return commands.filter((command) => !optional.includes(command) && ARGUMENTS[command] === undefined)
}

/** Null where the server cannot be asked. */
async function missingRules (link: RedisLink, needs: RedisNeeds[]): Promise<string[] | null> {
  const sites = needs.map((one) => siteRules(one, link.key('').slice(0, -1), link.channel('').slice(0, -1)))
  const sample = (pattern: string): string => pattern.replaceAll('*', 'x')
  const keys = unique(sites.flatMap((one) => one.keys))
  const channels = unique(sites.flatMap((one) => one.channels))
  try {
    const places = await refused(link, [
      ...keys.map((pattern) => ({ rule: `~${pattern}`, command: ['set', sample(pattern), '1'] })),
      ...channels.map((pattern) => ({ rule: `&${pattern}`, command: ['publish', sample(pattern), '1'] }))
    ])
    if (places === null) return null
    const key = keys.find((pattern) => !places.includes(`~${pattern}`))
    const channel = channels.find((pattern) => !places.includes(`&${pattern}`))
    const commands = unique(needs.flatMap(({ commands, optional }) => commands.filter((command) => optional?.includes(command) !== true)))
    const lacking = await refused(link, commands.flatMap((command) => {
      const words = ARGUMENTS[command]?.split(' ').filter((word) => word !== '')
      // Where every key is refused nobody can tell whether the command is too.
      if (words === undefined || (words.includes('K') && key === undefined) || (words.includes('C') && channel === undefined)) return []
      return [{ rule: `+${command}`, command: [command, ...words.map((word) => word === 'K' ? sample(key!) : word === 'C' ? sample(channel!) : word)] }]
    }))
    return [...lacking ?? [], ...places]
  } catch (err) {
    if (!isReply(err) || !err.message.startsWith('NOPERM')) throw err
    return ['+eval', '+evalsha']
  }
}

/** The rules that are missing; null where the server cannot be asked. */
async function refused (link: RedisLink, needs: Need[]): Promise<string[] | null> {
  const [isAsked, ...numbers] = await link.runScript(may, { keys: [], args: needs.flatMap(({ command }) => [command.length, ...command]) })
  if (isAsked === 1) return numbers.map((number) => needs[number - 1]!.rule)
  return isAsked === 0 ? refusedInTransaction(link, needs) : null
}

/** Redis 6.2 looks at permissions when a command is queued. */
async function refusedInTransaction (link: RedisLink, needs: Need[]): Promise<string[] | null> {
  const send = async (client: RedisClient, commands: Array<readonly string[]>): Promise<string[]> => {
    const answers = await client.pipeline(commands.map(([name = '', ...args]) => ['call', name, ...args])).exec() ?? []
    return answers.map(([error]) => error?.message ?? '')
  }
  return link.run(async (client) => {
    // Without a transaction the commands would be carried out.
    if (client.isCluster || (await send(client, [['multi'], ['discard']])).join('') !== '') return null
    // One that subscribes would make a subscriber of the connection.
    const tries = needs.filter(({ command: [name] }) => !name!.endsWith('subscribe'))
    const texts = await send(client, [['multi'], ...tries.map(({ command }) => command), ['discard']])
    return tries.filter((_try, index) => texts[index + 1]!.startsWith('NOPERM')).map(({ rule }) => rule)
  })
}

function unique (texts: string[]): string[] {
  return [...new Set(texts)]
}
