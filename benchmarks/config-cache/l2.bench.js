import { Redis } from 'ioredis'
import { compare, instance, url } from './setup.js'

// A hit in Redis: a reader that always has to go there, since its own level is emptied before each read, against a bare GET
// of the same value on a connection of its own.

const value = { list: Array.from({ length: 50 }, (_, i) => ({ id: i, name: `name ${i}` })) }
const siteId = `bench${Date.now()}`
const app = await instance(siteId)
const reader = app.configCache
const bare = new Redis(url)
const text = JSON.stringify(value)
await bare.set(`${siteId}:bare`, text, 'PX', 600_000)
let key = 0
const KEYS = 2000
const loader = async () => value
const filler = await instance(siteId)
for (let i = 0; i < KEYS; i++) await filler.configCache.getOrLoad(`k${i}`, {}, loader)

// `ttlMs: 1` lets a value leave the process at once, so the next turn goes to Redis again.
await compare({
  'ioredis GET and JSON.parse': async () => JSON.parse(/** @type {string} */ (await bare.get(`${siteId}:bare`))),
  'ioredis GET': () => bare.get(`${siteId}:bare`),
  'config-cache, hit in Redis': () => reader.getOrLoad(`k${key++ % KEYS}`, { ttlMs: 1 }, loader)
}, { operations: 1000, turns: 8, base: 'ioredis GET', unit: 'ms' })
const { l1Hits, l2Hits, loads } = reader.stats()
console.log(`config-cache: ${l2Hits} hits in Redis, ${l1Hits} in the process, ${loads} loads`)
await filler.close()
await app.close()
await bare.del(`${siteId}:bare`)
bare.disconnect()
