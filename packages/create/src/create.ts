import { appendFileSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { chosen, FEATURES } from './features/index.ts'
import { filesOf } from './files.ts'

export interface CreateOptions {
  /**
   * Where the application comes; its name is that of the folder, with the scope where that is in one: `@acme/shop`. Where
   * the folder is there already, and is called like no package may be, it is made of that: `Meine Räume` is `meine-raume`.
   */
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

/** What may lie in the folder before: what a new repository has, and what editors and systems leave anywhere. */
const BEFORE = new Set(['.git', '.gitattributes', '.gitignore', '.github', 'LICENSE', 'LICENSE.md', 'LICENSE.txt', 'README.md', '.idea', '.vscode', '.DS_Store'])

/**
 * Writes a new application. It installs nothing. A README.md that is there is left as it is, a `.gitignore` gets the lines that it lacks.
 * @returns the paths that it wrote, from the folder
 * @throws CreateError where the folder has something else in it or cannot be written, or a name is none
 */
export function create ({ folder, plugins = FEATURES.map(({ name }) => name), typescript = true, redisUrl = '', packages }: CreateOptions): string[] {
  const target = resolve(folder)
  // Who has a folder gave it its name for other reasons; who names a new one can name it otherwise.
  const name = existsSync(target) ? cleaned(basename(target)) : basename(target)
  if (!isPackageName(name)) throw new CreateError(`"${name}" is no name of a package: 1 to 64 lower-case letters, digits, dots, dashes and underscores, and neither a number nor all, which mean something else to PM2`)
  const unknown = plugins.filter((one) => !FEATURES.some((feature) => feature.name === one))
  if (unknown.length > 0) throw new CreateError(`There is no plugin ${unknown.join(', ')}: ${FEATURES.map((feature) => feature.name).join(', ')}`)
  if (redisUrl !== '' && !/^rediss?:\/\/\S+$/.test(redisUrl)) throw new CreateError('The address of Redis begins with redis:// or rediss://')
  // In .env it would begin a comment.
  if (redisUrl.includes('#')) throw new CreateError('The address of Redis has no "#": in a password write %23')
  return onDisk(() => {
    const other = existsSync(target) ? readdirSync(target).filter((entry) => !BEFORE.has(entry)) : []
    if (other.length > 0) throw new CreateError(`${target} is not empty: ${other.slice(0, 3).join(', ')}${other.length > 3 ? ', …' : ''}`)
    const scope = basename(dirname(target))
    const named = /^@[a-z0-9][a-z0-9._-]*$/.test(scope) ? `${scope}/${name}` : name
    const files = filesOf({ name: named, typescript, features: chosen(plugins) }, ...sources(packages), redisUrl)
    return Object.entries(files).filter(([path, text]) => write(join(target, path), text)).map(([path]) => path)
  })
}

function isPackageName (name: string): boolean {
  return /^[a-z0-9][a-z0-9._-]{0,63}$/.test(name) && name !== 'node_modules' && name !== 'favicon.ico' && !isForPm2(name)
}

/** What PM2 takes for every application, or for the number of one. */
function isForPm2 (name: string): boolean {
  return name === 'all' || !Number.isNaN(Number(name))
}

/** A name of a package that reads like this one. */
function cleaned (name: string): string {
  if (isPackageName(name)) return name
  const made = name.normalize('NFKD').replaceAll(/\p{M}/gu, '').toLowerCase().replaceAll(/[^a-z0-9._-]+/g, '-').replace(/^[._-]+/, '').slice(0, 64).replace(/-+$/, '') || 'my-site'
  return isForPm2(made) ? `site-${made}`.slice(0, 64) : made
}

/** @returns whether it wrote something */
function write (path: string, text: string): boolean {
  const file = basename(path)
  if (file === 'README.md' && existsSync(path)) return false
  if (file === '.gitignore' && existsSync(path)) {
    const before = readFileSync(path, 'utf8')
    const lines = text.split('\n').filter((line) => line !== '' && !before.split(/\r?\n/).includes(line))
    appendFileSync(path, `${before === '' || before.endsWith('\n') ? '' : '\n'}${lines.map((line) => `${line}\n`).join('')}`)
    return lines.length > 0
  }
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text, file === '.env' ? { mode: 0o600 } : {})
  return true
}

/** A folder that is a file, is not there, or belongs to somebody else is for who started the command to put right. */
function onDisk<T> (work: () => T): T {
  try {
    return work()
  } catch (err) {
    if (typeof (err as NodeJS.ErrnoException).syscall !== 'string') throw err
    throw new CreateError((err as Error).message, { cause: err })
  }
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
