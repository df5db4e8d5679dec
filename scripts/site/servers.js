import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { provideMongo, provideRedis } from '../servers/provider.js'

/**
 * @typedef {{ redisUrl: string, mongoUri: string }} Urls
 * @typedef {Urls & { stop: () => Promise<void> }} Servers
 */

/**
 * The Redis and MongoDB of `npm start`, with data that stays in `dir` between runs. Two processes on one data folder
 * would ruin it, so a second `npm start` in this checkout joins the servers of the first.
 *
 * @param {{ dir: string, say: (line: string) => void, signal: AbortSignal }} options
 * @returns {Promise<Servers>}
 * @throws {import('../servers/binaries.js').CannotProvide}
 */
export async function provideServers ({ dir, say, signal }) {
  const { REDIS_URL: redisUrl, MONGODB_URI: mongoUri } = process.env
  if (redisUrl && mongoUri) return { redisUrl, mongoUri, stop: async () => {} }
  mkdirSync(dir, { recursive: true })
  const file = join(dir, 'servers.json')
  const others = await claimOrJoin(file, signal)
  if (others !== undefined) {
    say('joining the servers of the npm start that already runs in this checkout')
    return { redisUrl: redisUrl || others.redisUrl, mongoUri: mongoUri || others.mongoUri, stop: async () => {} }
  }
  /** @type {import('../servers/provider.js').Provided[]} */
  const started = []
  const stop = async () => {
    await Promise.all(started.map((server) => server.stop()))
    rmSync(file, { force: true })
  }
  try {
    const redis = await provideRedis({ dir, say, persistent: true })
    started.push(redis)
    const mongo = await provideMongo({ dir, say })
    started.push(mongo)
    const urls = { redisUrl: redis.url, mongoUri: mongo.url }
    renameSync(write(file, urls), file)
    return { ...urls, stop }
  } catch (err) {
    await stop()
    throw err
  }
}

/**
 * Makes the data folder ours, or finds whose it is and waits for their servers.
 * @param {string} file
 * @param {AbortSignal} signal
 * @returns {Promise<Urls | undefined>} undefined where it is ours
 */
async function claimOrJoin (file, signal) {
  while (!claim(file)) {
    const { pid, urls } = read(file)
    if (pid === undefined || !isStart(pid)) rmSync(file, { force: true })
    else if (urls !== undefined) return urls
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

/** Written aside and then put in place, so that nobody reads half of it. @param {string} file @param {Urls} [urls] */
function write (file, urls) {
  const aside = `${file}.${process.pid}`
  writeFileSync(aside, JSON.stringify({ pid: process.pid, urls }), { mode: 0o600 })
  return aside
}

/** @param {string} file @returns {{ pid?: number, urls?: Urls }} */
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
