import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { ROOT } from '../bootstrap.js'
import { spawnGuarded } from '../servers/guarded.js'
import { answers } from './answers.js'

/**
 * @typedef {object} SiteOptions
 * @property {NodeJS.ProcessEnv} env what the workers see; HOST and PORT are set
 * @property {string} log a file that gets what the workers and PM2 print
 *
 * @typedef {object} RunningSite
 * @property {string} address
 * @property {number} pid of PM2, or of the only process
 * @property {number} workers
 * @property {Promise<number | null>} exited
 * @property {(signal: AbortSignal) => Promise<void>} ready waits until every worker answers
 * @property {() => Promise<void>} stop drains the workers and ends them; bounded
 */

/**
 * @typedef {RunningSite & { home: string, pm2: (...args: string[]) => Promise<string>, shell: (script: string, env?: NodeJS.ProcessEnv) => Promise<string> }} ClusterSite
 *   `home`: PM2's folder; `pm2`, `shell`: PM2's command line for this site's PM2, and a script in which it is the command `pm2`
 */

const PM2 = join(ROOT, 'node_modules/pm2/bin')
/** The longest path of a Unix socket that every system takes, less the name of PM2's longest one. */
const LONGEST_HOME = 100 - '/interactor.sock'.length

/** PM2 adds a second or so to the workers' own kill_timeout of 6 s. */
const STOP_TIMEOUT_MS = 10_000

/**
 * Runs the site as PM2 cluster workers. PM2 lives in one child process with a home of its own, so there is no daemon,
 * the user's own PM2 never learns of it, and all of it ends with this process, however that ends.
 *
 * @param {SiteOptions & { home: string, instances: number, ecosystem?: string, app?: string }} options `home`: PM2's folder,
 *   removed at the end; `ecosystem`, `app`: another file, and which of its apps
 * @returns {Promise<ClusterSite>}
 */
export async function runCluster ({ env, log, home, instances, ecosystem = join(ROOT, 'ecosystem.config.cjs'), app = 'jpulse-site' }) {
  const folder = Buffer.byteLength(home) <= LONGEST_HOME ? home : mkdtempSync(join(tmpdir(), 'jpulse-pm2-'))
  mkdirSync(folder, { recursive: true })
  const pm2Env = { ...env, INSTANCES: String(instances), PM2_HOME: folder, PM2_DISCRETE_MODE: 'true', PM2_DISABLE_VERSION_CHECK: '1' }
  const clean = () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  const site = await run([join(PM2, 'pm2-runtime'), 'start', ecosystem, '--only', app], { env: pm2Env, log }, instances).catch((err) => {
    clean()
    throw err
  })
  /** @param {string} file @param {string[]} args @param {NodeJS.ProcessEnv} [env] */
  const execute = async (file, args, env) => (await promisify(execFile)(file, args, { cwd: ROOT, env: { ...pm2Env, ...env }, maxBuffer: 2 ** 24 })).stdout
  return {
    ...site,
    home: folder,
    shell: (script, own) => execute('/bin/sh', ['-ec', `PATH=${PM2}:$PATH; ${script}`], own),
    async stop () {
      await site.stop()
      clean()
    },
    pm2: (...args) => execute(process.execPath, [join(PM2, 'pm2'), ...args])
  }
}

/**
 * Runs the site, or another server, as one process without PM2.
 * @param {SiteOptions & { script?: string }} options `script`: the server, from the root
 * @returns {Promise<RunningSite>}
 */
export function runSingle ({ script = 'examples/jpulse-site/dist/server.js', ...options }) {
  return run([join(ROOT, script)], options, 1)
}

/**
 * @param {string[]} args
 * @param {SiteOptions} options
 * @param {number} workers
 * @returns {Promise<RunningSite>}
 */
async function run (args, { env, log }, workers) {
  mkdirSync(dirname(log), { recursive: true })
  const process_ = await spawnGuarded(process.execPath, args, { cwd: ROOT, env, log })
  const address = addressOf(env)
  return {
    address,
    pid: process_.pid,
    workers,
    exited: process_.exited,
    async ready (signal) {
      const gone = new AbortController()
      process_.exited.then(() => gone.abort(), () => {})
      const seen = await answers(address, workers, AbortSignal.any([signal, gone.signal]))
      if (seen.size < workers) throw new Error(`${seen.size} of ${workers} workers answered at ${address}. The end of ${log}:\n${tail(log)}`)
    },
    stop: () => process_.stop('SIGTERM', STOP_TIMEOUT_MS)
  }
}

/** @param {NodeJS.ProcessEnv} env */
function addressOf ({ HOST = '127.0.0.1', PORT }) {
  const everywhere = HOST === '0.0.0.0' || HOST === '::'
  const host = everywhere ? '127.0.0.1' : HOST
  return `http://${host.includes(':') ? `[${host}]` : host}:${PORT}`
}

/** @param {string} file */
function tail (file) {
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-20).join('\n')
}
