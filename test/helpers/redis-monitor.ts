import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { ADMIN, hasPrintedAcl } from '../../scripts/servers/redis.js'
import type { Scope } from './scope.ts'

/**
 * Hears every command of a server until the test is over, by MONITOR on a connection of its own: ioredis takes a command that
 * comes in one piece with the answer to MONITOR for a fault.
 *
 * @param onCommand gets its name and arguments, and the address of who sent it
 */
export async function redisMonitor (t: Scope, url: string, onCommand: (args: string[], source: string) => void): Promise<void> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  const lines = createInterface(socket)
  const commands = [...(hasPrintedAcl() ? [`AUTH ${ADMIN.username} ${ADMIN.password}`] : []), 'MONITOR']
  let accepted = 0
  const begun = new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      if (line.startsWith('-')) return reject(new Error(line))
      if (line === '+OK') return ++accepted === commands.length && resolve()
      const [, source = '', rest = ''] = /^\+\S+ \[\d+ (\S+)\] (.*)$/.exec(line) ?? []
      onCommand([...rest.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, arg]) => arg!), source)
    })
  })
  socket.write(commands.map((command) => `${command}\r\n`).join(''))
  await begun
}
