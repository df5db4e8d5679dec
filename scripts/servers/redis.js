import { mkdirSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from './free-port.js'
import { spawnGuarded } from './guarded.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/**
 * @typedef {object} RedisProcess
 * @property {number} port
 * @property {string} url
 * @property {import('./guarded.js').Guarded} process
 */

/**
 * Starts redis-server on a loopback port and waits until it answers. With REDIS_ACL=printed its default user may do what
 * `redis-link acl` prints for any site, and nothing else; the user of `ADMIN` may do everything.
 *
 * @param {object} options
 * @param {string} options.binary
 * @param {string} options.dir folder of its data and log
 * @param {number} [options.port] a free one by default, with another try when somebody else took it
 * @param {string[]} [options.args] further arguments, `['--appendonly', 'yes']`
 * @param {string} [options.config] a configuration file, for servers that rewrite it (Sentinel)
 * @returns {Promise<RedisProcess>}
 */
export async function startRedis ({ binary, dir, port, args = [], config }) {
  mkdirSync(dir, { recursive: true })
  for (let attempt = 1; ; attempt++) {
    const chosen = port ?? await freePort()
    const server = await spawnGuarded(binary, [
      ...(config === undefined ? [] : [config]),
      '--port', String(chosen), '--bind', '127.0.0.1', '--dir', dir, '--daemonize', 'no',
      '--save', '', '--loglevel', 'notice', ...(config === undefined ? await aclArgs(args) : []), ...args
    ], { log: join(dir, `redis-${chosen}.log`) })
    if (await answers(chosen, server)) return { port: chosen, url: `redis://127.0.0.1:${chosen}`, process: server }
    await server.stop('SIGKILL')
    if (attempt === 3) throw new Error(`redis-server did not start; see ${dir}`)
  }
}

/** @returns {boolean} whether the servers of the tests give their default user the printed ACL */
export function hasPrintedAcl () {
  return process.env.REDIS_ACL === 'printed'
}

/** Who may do everything where the default user may not. */
export const ADMIN = { username: 'admin', password: 'admin' }

/** Keys of the tests' own, as an application has them. */
const OWN_KEYS = ['a', 'b', 'c', 'd', 'x', 'y', 'z', 'key', 'counter', 'still', 'list', 'foo', '{counter}*', '{m}*', '*:*:{foo}', 't????????????', 't????????????:over', '*:*:a', '*:*:list', '*:*:noted', '*:*:other', '*:*:faults']
/**
 * What the user may besides. With the tests' own keys, by a selector of Redis 7, whatever has a key: commands without one, but for those of a
 * transaction, would be allowed whatever the keys are. And all channels: an ACL allows a pattern only where it names the very same one, and each test has a site of its
 * own. test/acl.test.ts has one site.
 */
const BESIDES = ['&*', '+script|flush', '+multi', '+exec', `(+@read +@write +eval +evalsha -@dangerous -scan -dbsize -randomkey ${OWN_KEYS.map((key) => `~${key}`).join(' ')})`]

/** @param {string[]} given arguments of the test @returns {Promise<string[]>} */
async function aclArgs (given) {
  if (!hasPrintedAcl() || given.includes('--requirepass')) return []
  const { aclCommand, installedNeeds } = await import('../../packages/redis-link/dist/acl.js')
  const [, , user = '', ...rules] = aclCommand(installedNeeds(ROOT).values(), { siteId: '*', env: '*', user: 'default', db: 0 }).split(' ')
  const { username, password } = ADMIN
  return ['--user', username, 'on', `>${password}`, '~*', '&*', '+@all', '--masteruser', username, '--masterauth', password,
    '--user', user, 'reset', 'nopass', ...rules.filter((rule) => rule !== 'reset' && rule !== '>PASSWORD' && !rule.startsWith('&')), ...BESIDES]
}

/** @param {number} port @param {import('./guarded.js').Guarded} server */
async function answers (port, server) {
  const deadline = Date.now() + 10_000
  while (server.alive() && Date.now() < deadline) {
    if (await ping(port)) return server.alive()
    await sleep(10)
  }
  return false
}

/**
 * Asks for PING without a client library, because this runs before anything is installed. An answer that demands a
 * password is an answer too; one that says it is still loading is not.
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function ping (port) {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' }, () => socket.write('PING\r\n'))
    const done = (/** @type {boolean} */ up) => { socket.destroy(); resolve(up) }
    socket.setTimeout(500, () => done(false))
    socket.once('error', () => done(false))
    socket.once('data', (data) => done(/^\+PONG|^-NOAUTH|^-NOPERM|^-DENIED/.test(String(data))))
  })
}
