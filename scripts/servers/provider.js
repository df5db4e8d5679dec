import { redisBinary } from './binaries.js'
import { startMongo } from './mongo.js'
import { startRedis } from './redis.js'
import { join } from 'node:path'

/**
 * The one place that decides which Redis and MongoDB `npm start` and `npm test` use: the environment's, else one on
 * PATH, else one that it provides. Servers that it starts listen on loopback, keep their data under `dir` and end
 * with this process.
 *
 * @typedef {object} Provided
 * @property {string} url
 * @property {() => Promise<void>} stop
 */

const given = (/** @type {string} */ url) => ({ url, stop: async () => {} })

/**
 * @param {{ dir: string, say: import('./binaries.js').Say, persistent?: boolean }} options
 * @returns {Promise<Provided>}
 * @throws {import('./binaries.js').CannotProvide}
 */
export async function provideRedis ({ dir, say, persistent = false }) {
  if (process.env.REDIS_URL) {
    say('Redis: REDIS_URL')
    return given(process.env.REDIS_URL)
  }
  const redis = await startRedis({
    binary: redisBinary(say),
    dir: join(dir, 'redis'),
    args: persistent ? ['--appendonly', 'yes'] : []
  })
  say(`Redis: ${redis.url}`)
  return { url: redis.url, stop: () => redis.process.stop() }
}

/**
 * @param {{ dir: string, say: import('./binaries.js').Say }} options
 * @returns {Promise<Provided>}
 * @throws {import('./binaries.js').CannotProvide}
 */
export async function provideMongo ({ dir, say }) {
  if (process.env.MONGODB_URI) {
    say('MongoDB: MONGODB_URI')
    return given(process.env.MONGODB_URI)
  }
  const mongo = await startMongo({ dir: join(dir, 'mongo'), say })
  say(`MongoDB: ${mongo.kind} at ${mongo.url}`)
  return { url: mongo.url, stop: () => mongo.process.stop() }
}
