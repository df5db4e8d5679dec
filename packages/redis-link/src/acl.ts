import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** What a package needs of Redis: the field `redisNeeds` of its package.json. */
export interface RedisNeeds {
  /** As ACL rules name them: `get`, `cluster|slots`. */
  commands: string[]
  /** Those of the commands without which the package works none the less. */
  optional?: string[]
  /** Key patterns; `<site>` stands for `<siteId>:<env>`. */
  keys: string[]
  /** Channel patterns, likewise. */
  channels: string[]
}

export interface AclOptions {
  siteId: string
  env: string
  user: string
  /** Number of the database, which is part of the channels. */
  db: number
}

/**
 * The needs of the packages of one scope that a folder has installed, in `node_modules` of the folder or of one above it,
 * by the name of the package.
 */
export function installedNeeds (folder: string, scope = '@jpulse'): Map<string, RedisNeeds> {
  const found = new Map<string, RedisNeeds>()
  for (let at = folder, below = ''; at !== below; below = at, at = dirname(at)) {
    const packages = join(at, 'node_modules', scope)
    if (!existsSync(packages)) continue
    for (const name of readdirSync(packages)) {
      const needs = needsIn(join(packages, name, 'package.json'))
      if (needs !== undefined && !found.has(`${scope}/${name}`)) found.set(`${scope}/${name}`, needs)
    }
  }
  return found
}

/** The ACL command for a user who may do what these packages need on one site, and nothing else. `PASSWORD` is to be replaced. */
export function aclCommand (needs: Iterable<RedisNeeds>, { siteId, env, user, db }: AclOptions): string {
  const all = [...needs]
  const site = `${siteId}:${env}`
  const rules = all.map((one) => siteRules(one, site, db === 0 ? site : `${site}@${db}`))
  const unique = (list: (one: RedisNeeds) => string[]) => [...new Set(all.flatMap(list))].sort()
  // Redis 6.2 allows all channels after a reset.
  return ['ACL', 'SETUSER', user, 'reset', 'resetchannels', 'on', '>PASSWORD',
    ...[...new Set(rules.flatMap(({ keys }) => keys))].sort().map((pattern) => `~${pattern}`),
    ...[...new Set(rules.flatMap(({ channels }) => channels))].sort().map((pattern) => `&${pattern}`),
    ...unique(({ commands }) => commands).map((command) => `+${command}`)].join(' ')
}

/** The patterns of a package for one site, whose name in channels holds the database. */
export function siteRules ({ keys, channels }: RedisNeeds, site: string, siteOfChannels: string): Pick<RedisNeeds, 'keys' | 'channels'> {
  return { keys: keys.map((pattern) => pattern.replaceAll('<site>', site)), channels: channels.map((pattern) => pattern.replaceAll('<site>', siteOfChannels)) }
}

function needsIn (file: string): RedisNeeds | undefined {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { redisNeeds?: RedisNeeds }).redisNeeds
  } catch {
    return undefined
  }
}
