import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
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
  const begun = new Promise<void>((resolve) => {
    lines.on('line', (line) => {
      if (line === '+OK') return resolve()
      const [, source = '', rest = ''] = /^\+\S+ \[\d+ (\S+)\] (.*)$/.exec(line) ?? []
      onCommand([...rest.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, arg]) => arg!), source)
    })
  })
  socket.write('MONITOR\r\n')
  await begun
}
