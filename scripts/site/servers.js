import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mongoIsToBeBuilt } from '../servers/binaries.js'
import { freePort } from '../servers/free-port.js'
import { startMongo } from '../servers/mongo.js'
import { provideMongo, provideRedis } from '../servers/provider.js'
import { stopAll } from '../stop-all.js'
import { namesMongo, namesRedis, redisOf } from './given.js'

/** In the run folder: who runs, and on which servers. */
const FILE = 'servers.json'

/**
 * @typedef {NodeJS.ProcessEnv} ServersEnv the variables of the site that say which Redis and MongoDB it uses, and what of them
 * @typedef {{ env: ServersEnv, stop: () => Promise<void>, pending?: { what: string, failed: Promise<Error> } }} Servers `pending`: what is not there yet, for people, and why it never will be
 */

/**
 * The Redis and MongoDB of `npm start`: what the environment names, and where it names none, one whose data stay in `dir`
 * between runs. Two processes on one data folder would ruin it, so a second `npm start` in this checkout joins the servers
 * of the first.
 *
 * @param {{ dir: string, say: (line: string) => void, signal: AbortSignal }} options
 * @returns {Promise<Servers>}
 * @throws {import('../servers/binaries.js').CannotProvide}
 */
export async function provideServers ({ dir, say, signal }) {
  const { env } = process
  if (namesRedis(env) && namesMongo(env)) return { env, stop: async () => {} }
  mkdirSync(dir, { recursive: true })
  const file = join(dir, FILE)
  const others = await claimOrJoin(file, signal)
  if (others !== undefined) {
    say('joining the servers of the npm start that already runs in this checkout')
    return { env: others, stop: async () => {} }
  }
  /** @type {import('../servers/provider.js').Provided[]} */
  const started = []
  const stop = async () => {
    await stopAll(started.map(({ stop }) => stop))
    rmSync(file, { force: true })
  }
  try {
    /** @type {ServersEnv} */
    const servers = { ...redisOf(env), MONGODB_URI: env.MONGODB_URI, MONGODB_URI_FILE: env.MONGODB_URI_FILE, ENV_FILE: env.ENV_FILE, SITE_ID: env.SITE_ID, NODE_ENV: env.NODE_ENV }
    if (!namesRedis(env)) {
      const redis = await provideRedis({ dir, say, persistent: true })
      started.push(redis)
      servers.REDIS_URL = redis.url
    }
    /** @type {Servers['pending']} */
    let pending
    if (!namesMongo(env) && mongoIsToBeBuilt()) {
      const port = await freePort()
      servers.MONGODB_URI = patient(`mongodb://127.0.0.1:${port}`)
      pending = {
        what: 'MongoDB is being prepared: accounts, lists and the guest book are there in a minute or two',
        failed: new Promise((resolve) => { provideLater({ dir, say, port, signal }).then((mongo) => started.push(mongo), resolve) })
      }
    } else if (!namesMongo(env)) {
      const mongo = await provideMongo({ dir, say })
      started.push(mongo)
      servers.MONGODB_URI = patient(mongo.url)
    }
    renameSync(write(file, servers), file)
    return { env: servers, stop, ...(pending !== undefined && { pending }) }
  } catch (err) {
    await stop()
    throw err
  }
}

/**
 * A MongoDB that comes while the site serves already: its workers try its address until somebody answers.
 *
 * @param {{ dir: string, say: (line: string) => void, port: number, signal: AbortSignal }} options
 * @returns {Promise<import('../servers/provider.js').Provided>}
 * @throws {import('../servers/binaries.js').CannotProvide}
 */
async function provideLater ({ dir, say, port, signal }) {
  const { url, kind, process } = await startMongo({ dir: join(dir, 'mongo'), say, port })
  if (signal.aborted) await process.stop()
  else say(`MongoDB: ${kind} at ${url}; now the site has its documents`)
  return { url, stop: () => process.stop() }
}

/** The database that is provided reads all of a collection for a sorted page, so it is given longer. @param {string} uri */
function patient (uri) {
  return uri.includes('?') ? uri : `${uri.replace(/\/$/, '')}/?socketTimeoutMS=8000`
}

/**
 * The servers of the `npm start` that runs with this run folder.
 * @param {string} dir
 * @returns {ServersEnv | undefined} undefined where none runs
 */
export function runningServers (dir) {
  const { pid, env } = read(join(dir, FILE))
  return pid !== undefined && isStart(pid) ? env : undefined
}

/**
 * Makes the data folder ours, or finds whose it is and waits for their servers.
 * @param {string} file
 * @param {AbortSignal} signal
 * @returns {Promise<ServersEnv | undefined>} undefined where it is ours
 */
async function claimOrJoin (file, signal) {
  while (!claim(file)) {
    const { pid, env } = read(file)
    if (pid === undefined || !isStart(pid)) rmSync(file, { force: true })
    else if (env !== undefined) return env
    else await sleep(200, undefined, { signal })
  }
  return undefined
}

/** @param {string} file @returns {boolean} whether the file is ours now */
function claim (file) {
  const ours = write(file)
  try {
    linkSync(ours, file)
    return true
  } catch (err) {
    if (/** @type {NodeJS.ErrnoException} */ (err).code === 'EEXIST') return false
    throw err
  } finally {
    rmSync(ours)
  }
}

/** Written aside and then put in place, so that nobody reads half of it. @param {string} file @param {ServersEnv} [env] */
function write (file, env) {
  const aside = `${file}.${process.pid}`
  writeFileSync(aside, JSON.stringify({ pid: process.pid, env }), { mode: 0o600 })
  return aside
}

/** @param {string} file @returns {{ pid?: number, env?: ServersEnv }} */
function read (file) {
  try { return JSON.parse(readFileSync(file, 'utf8')) } catch { return {} }
}

/** Whether a process is a running `npm start`, and not another one that got the pid of a killed one. @param {number} pid */
function isStart (pid) {
  try {
    process.kill(pid, 0)
  } catch (err) {
    return /** @type {NodeJS.ErrnoException} */ (err).code === 'EPERM'
  }
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('start.js')
  } catch {
    return true
  }
}
