import { readFileSync, statSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { type Env, text as variable } from './env.ts'
import { ConfigError } from './errors.ts'

/** What may stand in a file of its own, as orchestrators mount secrets: the file's name is in `<NAME>_FILE`. */
const SECRETS = ['SESSION_SECRET', 'JWT_SECRET', 'REDIS_URL', 'REDIS_PASSWORD', 'MONGODB_URI', 'ADMIN_PASSWORD', 'METRICS_TOKEN']

/**
 * The variables with those of files. The file that `ENV_FILE` names holds lines of `NAME=value`, which go before the
 * environment: PM2 remembers the environment of the first start, and hands it to every worker for as long as it knows the
 * application. A file is read at each start of a worker, so a reload takes what was changed in it.
 *
 * @throws {ConfigError} naming the file that cannot be read, that everybody may read, or that holds a value which would be cut
 */
export function withFiles (env: Env): Env {
  const path = variable(env, 'ENV_FILE')
  const given: Env = path === undefined ? env : { ...env, ...parsed(read('ENV_FILE', path, isPrivate)) }
  const secrets = SECRETS.flatMap((name) => {
    const file = variable(given, `${name}_FILE`)
    if (file === undefined) return []
    if (variable(given, name) !== undefined) throw new ConfigError(`${name} and ${name}_FILE contradict each other`)
    return [[name, read(`${name}_FILE`, file).trim()] as const]
  })
  return { ...given, ...Object.fromEntries(secrets) }
}

/** A `#` begins a comment, also within a word: a password that has one would be another. */
function parsed (text: string): Env {
  // Editors of Windows begin a file with a mark, which would belong to the name of the first variable.
  const file = text.replace(/^\uFEFF/, '')
  const values = parseEnv(file)
  for (const [, name = '', before] of file.matchAll(/^\s*(?:export\s+)?([\w.-]+)[ \t]*=[ \t]*([^'"`\s#][^\n#]*)(?<=\S)#/gm)) {
    if (values[name] === before) throw new ConfigError(`ENV_FILE: the value of ${name} holds a #, before which it would end: put it in quotes, or a blank before a comment`)
  }
  return values
}

function read (name: string, path: string, check: (name: string, path: string) => void = () => {}): string {
  try {
    check(name, path)
    return readFileSync(path, 'utf8')
  } catch (err) {
    if (err instanceof ConfigError) throw err
    throw new ConfigError(`${name} names ${JSON.stringify(path)}, which cannot be read (${(err as NodeJS.ErrnoException).code})`)
  }
}

/** Windows has no such bits. */
function isPrivate (name: string, path: string): void {
  if (process.platform !== 'win32' && (statSync(path).mode & 0o004) !== 0) throw new ConfigError(`${name} names ${JSON.stringify(path)}, which everybody on this machine may read: chmod o-r it`)
}
