import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { embedDashboard } from './embed-dashboard.js'

/** The checkout. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Prints one line of progress. */
export const say = (/** @type {string} */ line) => { process.stderr.write(`· ${line}\n`) }

/** A folder of this process' own, which goes with it however it ends by itself, also where `run` ends it. @param {string} name @returns {string} */
export function temporaryFolder (name) {
  const folder = mkdtempSync(join(tmpdir(), `jpulse-${name}-`))
  // What is killed with this process may write its last.
  process.on('exit', () => { try { rmSync(folder, { recursive: true, force: true, maxRetries: 3 }) } catch {} })
  return folder
}

/** The environment without what npm adds for its own child, which would configure a nested pnpm or npm. */
export function cleanEnv () {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_(config|package|lifecycle)_/i.test(name)))
}

/** Makes a bare clone ready to run: installs, then builds every package. Uses Node's built-ins only. */
export function bootstrap () {
  install()
  say('building')
  embedDashboard(ROOT)
  const force = packages().some((folder) => !existsSync(join(folder, 'dist')))
  run(process.execPath, [join(ROOT, 'node_modules/typescript-native/bin/tsc'), '-b', ...(force ? ['--force'] : [])])
}

/** Installs the dependencies where a manifest, the lockfile or Node changed since the last time. */
export function install () {
  checkNode()
  if (installed() === fingerprint()) return
  say('installing dependencies (pnpm)')
  pnpmInstall()
  writeFileSync(MARKER, fingerprint())
}

/**
 * Makes a clone in which nobody works yet ready to run the site, and nothing else: a fifth of the dependencies, and no check of types.
 * The lockfile is taken as it came with the clone: a check of the age of each of a thousand packages takes longer than all the rest.
 *
 * @returns {Promise<boolean>} false, and nothing is done, where everything is installed, as for tests
 */
export async function bootstrapSite () {
  checkNode()
  const known = installed()
  if (known === null ? existsSync(dirname(MARKER)) : !known.startsWith(SITE)) return false
  if (known !== SITE + fingerprint()) {
    say('installing what the site needs (pnpm)')
    // So that an installation that is broken off is known for what it is.
    mkdirSync(dirname(MARKER), { recursive: true })
    writeFileSync(MARKER, SITE)
    pnpmInstall('--trust-lockfile', '--prod', '--filter', '.', '--filter', './scripts', '--filter', 'jpulse-site...')
    writeFileSync(MARKER, SITE + fingerprint())
  }
  say('building the site')
  embedDashboard(ROOT)
  const { buildWithoutTypes } = await import('./site/build.js')
  await buildWithoutTypes()
  return true
}

const MARKER = join(ROOT, 'node_modules', '.jpulse-installed')
/** Before the fingerprint where no more is installed than the site needs. */
const SITE = 'site '

/** @returns {string | null} what the last installation wrote; null where there was none */
function installed () {
  return existsSync(MARKER) ? readFileSync(MARKER, 'utf8') : null
}

/** @param {string[]} args */
function pnpmInstall (...args) {
  run('npm', ['exec', '--yes', '--prefer-offline', `--package=${packageManager()}`, '--', 'pnpm', 'install', '--frozen-lockfile', '--prefer-offline', '--reporter=append-only', '--loglevel=warn', ...args])
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [env]
 */
export function run (command, args, env = cleanEnv()) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, env, stdio: ['ignore', 'inherit', 'inherit'] })
  if (error !== undefined) throw error
  if (status !== 0) {
    process.stderr.write(`${command} ${args.join(' ')} failed\n`)
    process.exit(status ?? 1)
  }
}

function checkNode () {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  process.stderr.write(`Node ${process.versions.node} is too old: 20.19 or newer is needed.\n`)
  process.exit(1)
}

/** pnpm, in the version that wrote the lockfile. @returns {string} */
export function packageManager () {
  return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).packageManager
}

/** Every folder that is a package of the workspace and is built. */
function packages () {
  return ['packages', 'examples'].flatMap((group) => readdirSync(join(ROOT, group)).map((name) => join(ROOT, group, name)))
    .filter((folder) => existsSync(join(folder, 'tsconfig.json')))
}

function fingerprint () {
  const hash = createHash('sha256').update(process.version)
  const manifests = ['packages', 'examples'].flatMap((group) => readdirSync(join(ROOT, group)).sort().map((name) => join(group, name, 'package.json')))
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json', 'benchmarks/package.json', 'docs/site/package.json', 'scripts/package.json', ...manifests]) {
    if (existsSync(join(ROOT, file))) hash.update(readFileSync(join(ROOT, file)))
  }
  return hash.digest('hex')
}
