import { Redis } from 'ioredis'
import { alternate, instance, url } from './setup.js'

// A hit in Redis, against a bare GET of the same value: of a flag, and of a list of 50 objects, most of whose cost is to parse
// and freeze it. Each key is read again only after its millisecond in the process is over. Where the call gives the life itself,
// which then ends on all levels together, the hit asks Redis what is left of it besides: once per life, key and instance.

const KEYS = 2000
const values = {
  flag: { enabled: true },
  list: { list: Array.from({ length: 50 }, (_, i) => ({ id: i, name: `name ${i}` })) }
}
const siteId = `bench${Date.now()}`
const reader = await instance(siteId, undefined, { ttlMs: 1 })
const filler = await instance(siteId)
const bare = new Redis(url)

for (const [kind, value] of Object.entries(values)) {
  const loader = async () => value
  await bare.set(`${siteId}:${kind}`, JSON.stringify(value), 'PX', 600_000)
  for (let i = 0; i < KEYS; i++) await filler.configCache.getOrLoad(`${kind}${i}`, {}, loader)
  let key = 0
  await alternate({
    [`${kind}: ioredis GET`]: () => bare.get(`${siteId}:${kind}`),
    [`${kind}: ioredis GET, JSON.parse`]: async () => JSON.parse(/** @type {string} */ (await bare.get(`${siteId}:${kind}`))),
    [`${kind}: config-cache`]: () => reader.configCache.getOrLoad(`${kind}${key++ % KEYS}`, {}, loader),
    [`${kind}: config-cache, own life`]: () => reader.configCache.getOrLoad(`${kind}${key++ % KEYS}`, { ttlMs: 1 }, loader)
  }, 3000, `${kind}: ioredis GET`)
  await bare.del(`${siteId}:${kind}`)
}
const { l1Hits, l2Hits, loads } = reader.configCache.stats()
console.log(`config-cache: ${l2Hits} hits in Redis, ${l1Hits} in the process, ${loads} loads`)
await filler.close()
await reader.close()
bare.disconnect()
