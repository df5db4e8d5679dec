import { createServer } from 'node:net'
import { randomInt } from 'node:crypto'

const FIRST = 10_000
const LAST = 19_999

/**
 * A port on loopback that nobody listens on.
 *
 * Drawn below the kernel's ephemeral range, so that no outgoing connection takes it while its server is restarting,
 * and below 20000, so that a Redis Cluster node's bus port (its port + 10000) exists too. Two processes may still draw
 * the same one: who starts a server tries again with another port.
 *
 * @returns {Promise<number>}
 */
export async function freePort () {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = randomInt(FIRST, LAST + 1)
    if (await isFree(port) && await isFree(port + 10_000)) return port
  }
  throw new Error(`no free port between ${FIRST} and ${LAST}`)
}

/** @param {number} port */
function isFree (port) {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}
