import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** What a package needs of Redis: the field `redisNeeds` of its package.json. */
export interface RedisNeeds {
  /** As ACL rules name them: `get`, `cluster|slots`. */
  commands: string[]
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
  const unique = (list: (one: RedisNeeds) => string[]) => [...new Set(all.flatMap(list))].sort()
  return ['ACL', 'SETUSER', user, 'reset', 'on', '>PASSWORD',
    ...unique(({ keys }) => keys).map((pattern) => `~${pattern.replaceAll('<site>', site)}`),
    ...unique(({ channels }) => channels).map((pattern) => `&${pattern.replaceAll('<site>', db === 0 ? site : `${site}@${db}`)}`),
    ...unique(({ commands }) => commands).map((command) => `+${command}`)].join(' ')
}

function needsIn (file: string): RedisNeeds | undefined {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { redisNeeds?: RedisNeeds }).redisNeeds
  } catch {
    return undefined
  }
}
