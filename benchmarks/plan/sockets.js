import { setTimeout as sleep } from 'node:timers/promises'
import { wsNamespaces } from '@jpulse/ws-namespaces'
import { makeApp } from './app.js'
import { options, serve } from './children.js'
import { resident } from './numbers.js'
import { roomOf } from './rooms.js'

// A worker of carry.js and of people.js that has sockets: of nobody, and of users in rooms.

const { redis, number } = options()
const app = makeApp(redis, { pmId: String(number) })
app.register(wsNamespaces)
await app.ready()
const space = app.wsNamespaces.create('feed', { public: true, authorize: () => ({ userId: null }) })
const people = app.wsNamespaces.create('people', {
  authorize: ({ url }) => ({ userId: /** @type {string} */ (new URL(url, 'http://localhost').searchParams.get('user')) }),
  onConnect: (conn) => conn.join(roomOf(Number(conn.userId)))
})
await app.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })

serve({
  port: () => /** @type {import('node:net').AddressInfo} */ (app.server.address()).port,
  resident,
  cpu: () => {
    const { user, system } = process.cpuUsage()
    return user + system
  },
  sockets: () => Object.values(app.wsNamespaces.local()).reduce((sum, { connections }) => sum + connections, 0),
  /** So many messages, each to another room, one in `everyMs`. @param {{ count: number, everyMs: number, first: number, step: number, users: number }} rooms */
  say: async ({ count, everyMs, first, step, users }) => {
    const begin = performance.now()
    const sent = []
    for (let index = 0; index < count; index++) {
      await sleep(begin + index * everyMs - performance.now())
      sent.push(people.toRoom(roomOf((first + index * step) % users), 'n', { pad: 'x'.repeat(60) }))
    }
    await Promise.all(sent)
    return null
  },
  broadcast: () => space.broadcast('n', { t: performance.timeOrigin + performance.now(), pad: 'x'.repeat(60) }).then(() => null)
})
