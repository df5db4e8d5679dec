import { wsNamespaces } from '@jpulse/ws-namespaces'
import { makeApp } from './app.js'
import { options, serve } from './children.js'
import { resident } from './numbers.js'

// A worker of carry.js that has sockets.

const { redis, number } = options()
const app = makeApp(redis, { pmId: String(number) })
app.register(wsNamespaces)
await app.ready()
const space = app.wsNamespaces.create('feed', { public: true, authorize: () => ({ userId: null }) })
await app.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })

serve({
  port: () => /** @type {import('node:net').AddressInfo} */ (app.server.address()).port,
  resident,
  cpu: () => {
    const { user, system } = process.cpuUsage()
    return user + system
  },
  sockets: () => Object.values(app.wsNamespaces.local()).reduce((sum, { connections }) => sum + connections, 0),
  broadcast: () => space.broadcast('n', { t: performance.timeOrigin + performance.now(), pad: 'x'.repeat(60) }).then(() => null)
})
