import { spawn } from 'node:child_process'
import { readdirSync, renameSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { cleanEnv, ROOT, say } from './bootstrap.js'
import { flags } from './flags.js'
import { CannotProvide } from './servers/binaries.js'
import { freePort } from './servers/free-port.js'
import { withoutServers, withServers } from './site/given.js'
import { runCluster, runSingle } from './site/run-site.js'
import { runSecrets } from './site/secrets.js'
import { provideServers } from './site/servers.js'
import { untilStopped } from './site/until-stopped.js'
import { stopAll } from './stop-all.js'

// npm start             jpulse-site as PM2 cluster workers on a Redis and a MongoDB that are found or provided
// EMBEDDED=1 npm start  jpulse-site as one process without either
//
// PORT, HOST, SERVER_ID and the rest of the site's variables reach the workers; INSTANCES is the number of workers.

const EMBEDDED = /^(1|true|yes)$/i.test(process.env.EMBEDDED ?? '')
const DIR = process.env.JPULSE_RUN_DIR || join(ROOT, '.run')
const CANNOT_PROVIDE = 3
/** PM2 starts workers one after the other. */
const readyTimeoutMs = (/** @type {number} */ workers) => Math.max(120_000, workers * 10_000)

/** A reason to give up that is told in one line. */
class StartError extends Error {}

flags([])
const stopped = untilStopped()
/** What to end, the last started first. @type {(() => Promise<void>)[]} */
const started = []

try {
  await start()
} catch (err) {
  if (!stopped.aborted) {
    process.stderr.write(`${err instanceof StartError ? err.message : /** @type {Error} */ (err).stack}\n`)
    process.exitCode = 1
  }
} finally {
  if (started.length > 0) say('stopping')
  await stopAll(started)
  // Nothing is left to wait for, except what a library may still hold.
  process.exit()
}

async function start () {
  const given = await siteEnv()
  const prepared = await prepare()
  stopped.throwIfAborted()
  const { loadConfig } = await import('../examples/jpulse-site/dist/config.js')
  const { env, account } = withSecrets(given)
  try { loadConfig(env) } catch (err) { throw new StartError(/** @type {Error} */ (err).message) }
  // One file per port, since two may run at once.
  const log = join(DIR, `jpulse-site-${env.PORT}.log`)
  keepOneOldLog(log)

  const servers = EMBEDDED || !prepared ? undefined : await provide()
  stopped.throwIfAborted()
  const site = servers === undefined ? await embedded(env, log) : await cluster(withServers(env, servers.env), log)
  started.push(site.stop)
  say(`starting ${site.workers === 1 ? 'one process' : `${site.workers} workers`} (log: ${log})`)
  const pending = servers?.pending
  /** @type {Promise<never> | undefined} */
  const failed = pending?.failed.then((err) => { throw new StartError(`Without documents nobody could sign in. ${err.message}\nThe site without either server, in one process: EMBEDDED=1 npm start`) })
  // It may fail while nobody waits for it yet.
  failed?.catch(() => {})
  try {
    await site.ready(AbortSignal.any([stopped, AbortSignal.timeout(readyTimeoutMs(site.workers))]))
  } catch (err) {
    throw new StartError(/** @type {Error} */ (err).message)
  }
  process.stdout.write(`\n  jpulse-site: ${site.address}\n${account}${pending === undefined ? '' : `  ${pending.what}.\n`}  Ctrl-C stops it and all that it started.\n\n`)
  await Promise.race([stopped.promise, site.exited.then((status) => { throw new StartError(`the site ended by itself with status ${status}; see ${log}`) }), ...(failed === undefined ? [] : [failed])])
}

/** The environment of the workers, with the address decided. */
async function siteEnv () {
  const env = EMBEDDED ? withoutServers(cleanEnv()) : cleanEnv()
  if (env.REDIS_MODE?.trim() === 'none') throw new StartError('REDIS_MODE=none: the workers of npm start share a Redis. For one process without it: EMBEDDED=1 npm start')
  const host = env.HOST?.trim() || '127.0.0.1'
  const port = env.PORT?.trim() || '3000'
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) throw new StartError(`PORT must be a whole number from 0 to 65535, not "${port}"`)
  if (env.INSTANCES && !/^[1-9]\d{0,2}$/.test(env.INSTANCES)) throw new StartError(`INSTANCES must be a whole number from 1 to 999, not "${env.INSTANCES}"`)
  // Workers that took any free port would take one each.
  const chosen = port === '0' ? await freePort() : Number(port)
  await checkAddress(host, chosen)
  return { ...env, HOST: host, PORT: String(chosen) }
}

/**
 * Adds what nobody has set: the secret that signs sessions, and the first administrator.
 * @template {NodeJS.ProcessEnv} E
 * @param {E} env
 * @returns {{ env: E, account: string }} and what to tell about the account
 */
function withSecrets (env) {
  const { secrets, file, isNew } = runSecrets(DIR)
  const admin = env.ADMIN_USERNAME || env.ADMIN_EMAIL || env.ADMIN_PASSWORD
    ? {}
    : { ADMIN_USERNAME: 'admin', ADMIN_EMAIL: 'admin@example.org', ADMIN_PASSWORD: secrets.adminPassword }
  const password = isNew ? `password ${secrets.adminPassword} (shown once; it stays in ${file})` : `password in ${file}`
  return {
    env: { ...env, ...admin, SESSION_SECRET: env.SESSION_SECRET || secrets.sessionSecret },
    account: admin.ADMIN_USERNAME === undefined ? '' : `  Administrator: admin, ${password}\n`
  }
}

/** @param {string} host @param {number} port @returns {Promise<void>} */
function checkAddress (host, port) {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (err) => {
      const taken = /** @type {NodeJS.ErrnoException} */ (err).code === 'EADDRINUSE'
      reject(new StartError(taken ? `Port ${port} is in use. Choose another one: PORT=${port + 1} npm start` : `HOST ${host}, PORT ${port}: ${err.message}`))
    })
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()))
  })
}

/**
 * Installs and builds. In a process group of its own, because it blocks its process, so that a signal to this one can
 * end it at once.
 * @returns {Promise<boolean>} false where a server can be neither found nor provided
 */
function prepare () {
  const script = join(ROOT, 'scripts/site/prepare.js')
  const child = spawn(process.execPath, [script, ...(EMBEDDED ? ['--embedded'] : [])], { stdio: 'inherit', detached: true })
  stopped.addEventListener('abort', () => { if (child.exitCode === null && child.signalCode === null) process.kill(-Number(child.pid), 'SIGKILL') })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (status) => {
      if (status === 0 || status === CANNOT_PROVIDE) resolve(status === 0)
      else reject(new StartError('The site could not be prepared (see above).'))
    })
  })
}

/** @returns {Promise<import('./site/servers.js').Servers | undefined>} undefined where they cannot be provided */
async function provide () {
  try {
    const servers = await provideServers({ dir: DIR, say, signal: stopped })
    started.push(servers.stop)
    return servers
  } catch (err) {
    if (!(err instanceof CannotProvide)) throw err
    process.stderr.write(`${err.message}\n`)
    return undefined
  }
}

/** @param {NodeJS.ProcessEnv} env @param {string} log */
function cluster (env, log) {
  removeOldHomes()
  const instances = env.INSTANCES ? Number(env.INSTANCES) : Math.max(2, availableParallelism())
  return runCluster({ env, log, home: join(DIR, `pm2-${process.pid}`), instances })
}

/** @param {NodeJS.ProcessEnv} env @param {string} log */
function embedded (env, log) {
  process.stderr.write(`
  Embedded mode: one process, no Redis, no MongoDB.
  - accounts, sessions and documents live in this process and go when it stops
  - no second worker or server could share them
  For all of it: ${EMBEDDED ? 'npm start without EMBEDDED' : 'see above, or set REDIS_URL and MONGODB_URI'}

`)
  return runSingle({ env: withoutServers(env), log })
}

/** The log of the run before stays for comparison; older ones go, so that logs do not pile up. @param {string} log */
function keepOneOldLog (log) {
  try { renameSync(log, `${log}.1`) } catch {}
}

/** PM2's folders of runs that were killed. */
function removeOldHomes () {
  try {
    for (const name of readdirSync(DIR)) {
      const pid = Number(/^pm2-(\d+)$/.exec(name)?.[1])
      if (pid > 0 && !isAlive(pid)) rmSync(join(DIR, name), { recursive: true, force: true })
    }
  } catch {}
}

/** @param {number} pid */
function isAlive (pid) {
  try { process.kill(pid, 0); return true } catch { return false }
}
