import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { homedir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawnGuarded } from './guarded.js'

/** A server that can be neither found nor provided; the message says which command would help. */
export class CannotProvide extends Error {
  /** @param {string} what @param {string} remedy */
  constructor (what, remedy) {
    super(`${what} was not found and cannot be provided here. ${remedy}`)
    this.name = 'CannotProvide'
  }
}

/** @typedef {(line: string) => void} Say */

/** @param {string[]} names @returns {string | undefined} the first of the names that is on PATH */
export function onPath (...names) {
  for (const name of names) {
    for (const folder of (process.env.PATH ?? '').split(delimiter)) {
      const file = join(folder, name)
      try { accessSync(file, constants.X_OK); return file } catch {}
    }
  }
  return undefined
}

/** @param {Say} say @returns {string} a redis-server or valkey-server binary: the first of REDIS_BIN, else the one on PATH */
export function redisBinary (say) {
  return redisBinaries()[0] ??
    aptInstall('redis-server', ['redis-server'], say, 'Redis', 'Install redis-server or valkey-server, or set REDIS_URL.')
}

/** @returns {string[]} the servers that REDIS_BIN names (as PATH is written), else those on PATH */
export function redisBinaries () {
  const named = (process.env.REDIS_BIN ?? '').split(delimiter).filter((file) => file !== '')
  if (named.length > 0) return named
  return [onPath('redis-server'), onPath('valkey-server')].filter((file) => file !== undefined)
}

/** @param {Say} say @returns {string} a Chromium or Chrome binary */
export function chromiumBinary (say) {
  return process.env.CHROMIUM_PATH ?? onPath('chromium', 'google-chrome', 'chromium-browser') ??
    aptInstall('chromium', ['chromium'], say, 'Chromium', 'Install chromium, or set CHROMIUM_PATH.')
}

/** @param {string} pkg @param {string[]} binaries @param {Say} say @param {string} what @param {string} remedy */
function aptInstall (pkg, binaries, say, what, remedy) {
  if (onPath('apt-get') === undefined || process.getuid?.() !== 0) throw new CannotProvide(what, remedy)
  say(`installing ${pkg} with apt-get (once)`)
  // RUNLEVEL=1 keeps the package from starting a service of its own.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
  const apt = (/** @type {string[]} */ ...args) => execFileSync('apt-get', ['-qq', ...args], { env, stdio: ['ignore', 'ignore', 'inherit'], timeout: 300_000 })
  try {
    apt('update')
    apt('install', '-y', '--no-install-recommends', pkg)
  } catch {
    throw new CannotProvide(what, `apt-get install ${pkg} failed. ${remedy}`)
  }
  const found = onPath(...binaries)
  if (found === undefined) throw new CannotProvide(what, remedy)
  return found
}

/** @typedef {{ prometheus: string, promtool: string, python: string, pythonPath: string }} PrometheusTools what judges our metrics; pythonPath has prometheus_client */

/**
 * Prometheus, promtool and Python's prometheus_client: those on PATH, else out of Debian's packages, which are unpacked into the
 * user's cache folder and not installed, so that no service starts.
 * @param {Say} say
 * @returns {PrometheusTools | undefined} undefined where they are not to be had; tests that need them say so
 */
export function prometheusTools (say) {
  const folder = join(cacheFolder(), `prometheus-${process.arch}`)
  const [prometheus, promtool, python] = ['prometheus', 'promtool', 'python3'].map((name) => onPath(name))
  const pythonPath = join(folder, 'usr/lib/python3/dist-packages')
  if (!existsSync(folder) && !unpackDebian(folder, ['prometheus', 'python3-prometheus-client'], say)) return undefined
  if (python === undefined) return undefined
  return { prometheus: prometheus ?? join(folder, 'usr/bin/prometheus'), promtool: promtool ?? join(folder, 'usr/bin/promtool'), python, pythonPath }
}

/** @param {Say} say @returns {string | undefined} an nginx: the one on PATH, else Debian's, unpacked into the cache folder */
export function nginxBinary (say) {
  const found = onPath('nginx')
  if (found !== undefined) return found
  const folder = join(cacheFolder(), `nginx-${process.arch}`)
  return existsSync(folder) || unpackDebian(folder, ['nginx'], say) ? join(folder, 'usr/sbin/nginx') : undefined
}

/** @param {Say} say @returns {string | undefined} a logrotate: the one on PATH, else Debian's, unpacked into the cache folder */
export function logrotateBinary (say) {
  const found = onPath('logrotate')
  if (found !== undefined) return found
  const folder = join(cacheFolder(), `logrotate-${process.arch}`)
  return existsSync(folder) || unpackDebian(folder, ['logrotate', 'libpopt0'], say) ? join(folder, 'usr/sbin/logrotate') : undefined
}

/** @param {string} folder @param {string[]} packages @param {Say} say @returns {boolean} */
function unpackDebian (folder, packages, say) {
  if (onPath('apt-get') === undefined || onPath('dpkg') === undefined) return false
  say(`unpacking ${packages.join(', ')} of Debian into the cache folder (once)`)
  mkdirSync(dirname(folder), { recursive: true })
  const made = mkdtempSync(`${folder}.`)
  const run = (/** @type {string} */ command, /** @type {string[]} */ args) => execFileSync(command, args, { cwd: made, stdio: 'ignore', timeout: 120_000 })
  try {
    const download = () => run('apt-get', ['-qq', '-o', 'Acquire::Retries=1', '-o', 'Acquire::http::Timeout=10', 'download', ...packages])
    // A fresh image has no lists of packages.
    try { download() } catch { run('apt-get', ['-qq', 'update']); download() }
    for (const file of readdirSync(made).filter((name) => name.endsWith('.deb'))) {
      run('dpkg', ['-x', file, 'out'])
    }
    renameSync(join(made, 'out'), folder)
  } catch {
    say(`${packages.join(', ')} cannot be had here: the tests that need it say so`)
  }
  rmSync(made, { recursive: true, force: true })
  return existsSync(folder)
}

/** Where what is fetched or built once is kept for all checkouts of this user. */
export const cacheFolder = () => join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'jpulse-suite')

/** The longest time of the build, which fetches its modules the first time. */
const BUILD_MS = 600_000
const MONGO_WIRE = fileURLToPath(new URL('../../test/servers/mongo-wire/', import.meta.url))

/** Where the server of our Go module is once it is built: one for each state of its source. */
function mongoWirePath () {
  const hash = createHash('sha256')
  for (const file of ['main.go', 'go.mod', 'go.sum']) hash.update(readFileSync(join(MONGO_WIRE, file)))
  return join(cacheFolder(), `mongo-wire-${hash.digest('hex').slice(0, 16)}-${process.arch}`)
}

/** Whether a server of the MongoDB wire protocol has to be built first, which takes a minute. */
export function mongoIsToBeBuilt () {
  return onPath('mongod', 'ferretdb') === undefined && onPath('go') !== undefined && !existsSync(mongoWirePath())
}

/**
 * The MongoDB wire protocol from our Go module, built once per source into the user's cache folder.
 * @param {Say} say
 * @returns {Promise<string | undefined>} undefined where Go is absent
 */
export async function mongoWireBinary (say) {
  const binary = mongoWirePath()
  if (existsSync(binary)) return binary
  const go = onPath('go')
  if (go === undefined) return undefined
  say('building the MongoDB wire server (FerretDB) with Go, about a minute, once')
  mkdirSync(dirname(binary), { recursive: true })
  const built = `${binary}.${process.pid}`
  const log = `${built}.log`
  const build = await spawnGuarded(go, ['build', '-o', built, '.'], { cwd: MONGO_WIRE, env: { ...process.env, GOFLAGS: '-mod=readonly', CGO_ENABLED: '0' }, log })
  // This timer also keeps the process: the guard does not, and nothing else may run yet.
  const limit = setTimeout(() => { build.stop('SIGKILL', 0) }, BUILD_MS)
  const status = await build.exited
  clearTimeout(limit)
  const said = readFileSync(log, 'utf8').trim()
  rmSync(log)
  if (status !== 0) throw new CannotProvide('A MongoDB wire server', `go build failed: ${said}. Install mongod, or set MONGODB_URI.`)
  // Renamed into place, so that two runs at once never start a half-written binary.
  renameSync(built, binary)
  return binary
}
