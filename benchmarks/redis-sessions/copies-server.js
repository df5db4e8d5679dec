import configCache from '@jpulse/config-cache'
import redisLink from '@jpulse/redis-link'
import redisSessions from '@jpulse/redis-sessions'
import Fastify from 'fastify'

// So many instances of copies.bench.js in one process, of which the first does what it is asked.
// Arguments: site, instances, whether copies are served.

const [siteId, count, copies] = [process.argv[2] ?? '', Number(process.argv[3]), process.argv[4] === 'copies']
const secret = 'a secret of the benchmark, longer than 32 characters'

async function instance () {
  const app = Fastify()
  await app.register(redisLink, { url: process.env.REDIS_URL, siteId })
  if (copies) await app.register(configCache, { blockTtlMs: 500, maxEntries: 20_000 })
  await app.register(redisSessions, { secret, localReads: copies })
  app.post('/login', async (request) => app.sessions.login(request, /** @type {{ user: string }} */ (request.body).user, { theme: 'dark', n: 0 }).then(() => 'in'))
  app.get('/read', async ({ session }) => ({ theme: /** @type {any} */ (session).theme ?? null }))
  app.get('/change', async ({ session }) => {
    /** @type {any} */ (session).n = Math.random()
    return 'changed'
  })
  app.post('/logout', async (request) => app.sessions.logout(request).then(() => 'out'))
  await app.ready()
  if (copies) while (app.configCache.mode !== 'coherent') await new Promise((resolve) => setTimeout(resolve, 20))
  return app
}

const apps = await Promise.all(Array.from({ length: count }, instance))
const app = /** @type {(typeof apps)[number]} */ (apps[0])
const address = await app.listen({ port: 0, host: '127.0.0.1' })

/** @param {string} user */
async function login (user) {
  const { headers } = await app.inject({ method: 'POST', url: '/login', payload: { user } })
  return String(headers['set-cookie']).split(';')[0] ?? ''
}

/** @template T @param {() => Promise<T>} run */
async function timed (run) {
  const begun = performance.now()
  const value = await run()
  return { ms: performance.now() - begun, value }
}

const asks = {
  address: async () => address,
  cookie: async () => login('mixed'),
  /** @param {string} user */
  async login (user) {
    const { ms, value } = await timed(() => login(user))
    return { ms, cookie: value }
  },
  /** @param {string} cookie */
  change: (cookie) => timed(async () => { await app.inject({ url: '/change', headers: { cookie } }) }),
  /** @param {string} cookie */
  logout: (cookie) => timed(async () => { await app.inject({ method: 'POST', url: '/logout', headers: { cookie } }) }),
  /** By every instance. @param {string} cookie */
  async read (cookie) {
    await Promise.all(apps.map((one) => one.inject({ url: '/read', headers: { cookie } })))
    return true
  },
  /** Bytes of the heap that so many sessions take which were read once. @param {number} sessions */
  async memory (sessions) {
    /** @type {string[]} */
    const cookies = []
    for (let n = 0; n < sessions; n++) cookies.push(await login(`m${n}`))
    globalThis.gc?.()
    const before = process.memoryUsage().heapUsed
    for (const cookie of cookies) await app.inject({ url: '/read', headers: { cookie } })
    globalThis.gc?.()
    return process.memoryUsage().heapUsed - before
  }
}

process.on('message', async (/** @type {{ ask: keyof typeof asks, value: never }} */ { ask, value }) => process.send?.(await asks[ask](value)))
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
