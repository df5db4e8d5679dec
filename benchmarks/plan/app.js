import { createHash, randomBytes } from 'node:crypto'
import { clusterBroadcast } from '@jpulse/cluster-broadcast'
import { redisLink } from '@jpulse/redis-link'
import Fastify from 'fastify'

/** An application with what all parts have: the link and the broadcast. Without `redis` it is a cluster of its own. @param {object} redis options of the link @param {object} [broadcast] */
export function makeApp (redis, broadcast = {}) {
  const app = Fastify({ pluginTimeout: 300_000 })
  // Each part's own numbers say how long things take; a limit must not cut them.
  app.register(redisLink, { ...redis, siteId: 'plan', env: 'bench', connectTimeoutMs: 10_000, commandTimeoutMs: 20_000 })
  app.register(clusterBroadcast, { serverId: `s${process.pid}`, ...broadcast })
  return app
}

/** What a session of an application holds. */
export const SESSION = { name: 'A. N. Other', email: 'a.n.other@example.com', roles: ['user', 'editor'], theme: 'dark', visits: 17 }
export const SECRET = 'a secret of the benchmark, longer than 32 characters'

/** Of a user's session, as `login` makes it: a new id, and the group of the user. */
export function newRef () {
  const digest = (/** @type {string} */ text) => createHash('sha256').update(text).digest('base64url')
  return { hash: digest(randomBytes(24).toString('base64url')), tag: digest(randomBytes(8).toString('hex')).slice(0, 22), owned: true }
}

/**
 * What `login` hands to the store, taken from one real login.
 *
 * @param {import('fastify').FastifyInstance} app with redis-sessions and a route POST /login
 * @returns {Promise<{ payload: string, notice: string | undefined }>}
 */
export async function stored (app) {
  const { store } = app.sessions
  const { create } = store
  /** @type {any} */
  let seen
  store.create = (ref, payload, origin, lifetimes, notice) => {
    seen = { payload, notice }
    return create.call(store, ref, payload, origin, lifetimes, notice)
  }
  const { statusCode } = await app.inject({ method: 'POST', url: '/login', headers: { 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0' } })
  store.create = create
  if (statusCode !== 200 || seen === undefined) throw new Error(`the login was answered with ${statusCode}`)
  return seen
}
