import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import configCache from '@jpulse/config-cache'
import redisLink from '@jpulse/redis-link'
import redisSessions from '@jpulse/redis-sessions'
import { RedisStore } from 'connect-redis'
import Fastify from 'fastify'
import { randomUUID } from 'node:crypto'
import { createClient } from 'redis'

// One variant of read.bench.js: answers 'login' with the address and the cookie of a session, 'cpu' with its CPU time in us.

const variant = process.argv[2] ?? ''
const url = process.env.REDIS_URL
const secret = 'a secret of the benchmark, longer than 32 characters'
const data = { name: 'A. N. Other', roles: ['user', 'editor'], theme: 'dark', visits: 17 }
const app = Fastify()

if (variant.startsWith('ours')) {
  const localReads = variant === 'ours, copies' || variant === 'ours, not looked at'
  await app.register(redisLink, { ...(variant === 'ours, memory' ? {} : { url }), siteId: randomUUID() })
  if (localReads) await app.register(configCache, { blockTtlMs: 500 })
  await app.register(redisSessions, { secret, localReads })
  app.post('/login', async (request) => app.sessions.login(request, 'user-1', data).then(() => 'in'))
} else if (variant.startsWith('peer')) {
  const client = createClient({ url })
  await client.connect()
  await app.register(fastifyCookie)
  await app.register(fastifySession, {
    secret,
    store: /** @type {any} */ (new RedisStore({ client, prefix: `${randomUUID()}:`, ttl: 86400 })),
    cookie: { secure: false, maxAge: 86_400_000 },
    saveUninitialized: false,
    rolling: variant === 'peer, rolling'
  })
  app.post('/login', async (request) => {
    await request.session.regenerate()
    Object.assign(request.session, data, { userId: 'user-1' })
    return 'in'
  })
} else {
  app.post('/login', async () => 'in')
}
app.get('/look-away', async () => ({ theme: 'none' }))
app.get('/read', async ({ session }) => ({ theme: session === undefined ? 'none' : /** @type {any} */ (session).theme }))

const address = await app.listen({ port: 0, host: '127.0.0.1' })

async function login () {
  const { headers } = await fetch(`${address}/login`, { method: 'POST' })
  return { url: address, cookie: headers.get('set-cookie')?.split(';')[0] }
}

process.on('message', async (what) => {
  const { user, system } = process.cpuUsage()
  process.send?.(what === 'cpu' ? user + system : await login())
})
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
