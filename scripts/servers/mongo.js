import { mkdirSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CannotProvide, mongoWireBinary, onPath } from './binaries.js'
import { freePort } from './free-port.js'
import { firstLine, spawnGuarded } from './guarded.js'

/**
 * @typedef {object} MongoProcess
 * @property {string} url
 * @property {string} kind which server this is, for people
 * @property {import('./guarded.js').Guarded} process
 */

/**
 * Starts a server of the MongoDB wire protocol on a loopback port: mongod or ferretdb from PATH, else our own Go
 * module, else the mongod that mongodb-memory-server downloads.
 *
 * @param {object} options
 * @param {string} options.dir folder of its data
 * @param {import('./binaries.js').Say} options.say
 * @param {number} [options.port] a free one unless given
 * @returns {Promise<MongoProcess>}
 */
export async function startMongo ({ dir, say, port }) {
  mkdirSync(dir, { recursive: true })
  const mongod = onPath('mongod')
  if (mongod !== undefined) return startMongod(mongod, dir, port)
  const ferretdb = onPath('ferretdb')
  if (ferretdb !== undefined) return startFerret(ferretdb, dir, port)
  const wire = await mongoWireBinary(say)
  if (wire !== undefined) return startWire(wire, dir, port)
  return startMongod(await downloadMongod(say), dir, port)
}

/** @param {string} binary @param {string} dir @param {number} [port] */
async function startWire (binary, dir, port = 0) {
  const process = await spawnGuarded(binary, ['-dir', dir, '-listen', `127.0.0.1:${port}`])
  const url = await firstLine(process, 20_000)
  return { url: url.replace(/\/$/, ''), kind: 'FerretDB (SQLite)', process }
}

/** @param {string} binary @param {string} dir @param {number} [given] */
async function startMongod (binary, dir, given) {
  const port = given ?? await freePort()
  const process = await spawnGuarded(binary, ['--dbpath', dir, '--port', String(port), '--bind_ip', '127.0.0.1', '--quiet'],
    { log: join(dir, 'mongod.log') })
  return listening(process, port, 'mongod')
}

/** @param {string} binary @param {string} dir @param {number} [given] */
async function startFerret (binary, dir, given) {
  const port = given ?? await freePort()
  const process = await spawnGuarded(binary, [`--listen-addr=127.0.0.1:${port}`, '--handler=sqlite', `--sqlite-url=file:${dir}/`,
    '--telemetry=disable', '--debug-addr=-', `--state-dir=${dir}`], { log: join(dir, 'ferretdb.log') })
  return listening(process, port, 'ferretdb')
}

/** @param {import('./guarded.js').Guarded} process @param {number} port @param {string} kind */
async function listening (process, port, kind) {
  const deadline = Date.now() + 30_000
  while (process.alive() && Date.now() < deadline) {
    const up = await new Promise((resolve) => {
      const socket = createConnection({ port, host: '127.0.0.1' }, () => { socket.destroy(); resolve(true) })
      socket.once('error', () => resolve(false))
    })
    if (up) return { url: `mongodb://127.0.0.1:${port}`, kind, process }
    await sleep(50)
  }
  await process.stop('SIGKILL')
  throw new Error(`${kind} did not start on port ${port}`)
}

/** @param {import('./binaries.js').Say} say */
async function downloadMongod (say) {
  const remedy = 'Install mongod or Go, or set MONGODB_URI.'
  try {
    say('downloading mongod through mongodb-memory-server (once)')
    const { MongoBinary } = await import('mongodb-memory-server-core')
    return await MongoBinary.getPath({})
  } catch (err) {
    throw new CannotProvide('A MongoDB server', `The download failed (${/** @type {Error} */ (err).message}). ${remedy}`)
  }
}
