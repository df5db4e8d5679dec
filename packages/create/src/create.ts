import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { chosen, FEATURES } from './features/index.ts'
import { filesOf } from './files.ts'

export interface CreateOptions {
  /** Where the application comes; its name is that of the folder. */
  folder: string
  /** Names of {@link FEATURES}; what they need comes along. @default all */
  plugins?: readonly string[]
  /** @default true */
  typescript?: boolean
  /** The Redis of `.env`, `redis://…`; empty for none. @default '' */
  redisUrl?: string
  /** A folder with tarballs of the suite's packages, in place of the registry. */
  packages?: string
}

/** What somebody who starts the command can put right. */
export class CreateError extends Error {
  override readonly name = 'CreateError'
}

/**
 * Writes a new application. It installs nothing.
 * @returns the paths that it wrote, from the folder
 * @throws CreateError where the folder has something in it, or a name is none
 */
export function create ({ folder, plugins = FEATURES.map(({ name }) => name), typescript = true, redisUrl = '', packages }: CreateOptions): string[] {
  const target = resolve(folder)
  const name = basename(target)
  if (!/^[a-z0-9][a-z0-9._-]{0,63}$/.test(name)) throw new CreateError(`"${name}" is no name of a package: 1 to 64 lower-case letters, digits, dots, dashes and underscores`)
  const unknown = plugins.filter((one) => !FEATURES.some((feature) => feature.name === one))
  if (unknown.length > 0) throw new CreateError(`There is no plugin ${unknown.join(', ')}: ${FEATURES.map((feature) => feature.name).join(', ')}`)
  if (redisUrl !== '' && !/^rediss?:\/\/\S+$/.test(redisUrl)) throw new CreateError('The address of Redis begins with redis:// or rediss://')
  if (existsSync(target) && readdirSync(target).length > 0) throw new CreateError(`${target} is not empty`)

  const files = filesOf({ name, typescript, features: chosen(plugins) }, ...sources(packages), redisUrl)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(target, path)), { recursive: true })
    writeFileSync(join(target, path), text, path === '.env' ? { mode: 0o600 } : {})
  }
  return Object.keys(files)
}

/** Ranges are those with which this package was released; tarballs also stand in for what the chosen packages need themselves. */
function sources (packages: string | undefined): [(name: string) => string, Record<string, string>] {
  const ranges = (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { devDependencies: Record<string, string> }).devDependencies
  const tarballs = packages === undefined ? {} : tarballsIn(packages)
  return [(name) => tarballs[name] ?? ranges[name]!, tarballs]
}

function tarballsIn (folder: string): Record<string, string> {
  const found = readdirSync(folder).flatMap((file) => {
    const [, name] = /^jpulse-([a-z-]+)-\d+\..*\.tgz$/.exec(file) ?? []
    return name === undefined || name === 'create' ? [] : [[`@jpulse/${name}`, `file:${resolve(folder, file)}`] as const]
  })
  if (found.length === 0) throw new CreateError(`There are no tarballs of the suite in ${folder}`)
  return Object.fromEntries(found)
}
