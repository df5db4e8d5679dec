import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { Cacheable } from 'cacheable'
import { createCache } from 'async-cache-dedupe'
import { LRUCache } from 'lru-cache'
import { compare, instance } from './setup.js'

// A hit in the process, awaited as an application awaits it.

const value = { enabled: true, limits: { a: 1, b: [1, 2, 3] } }
const app = await instance(`bench${Date.now()}`)
const cache = app.configCache
await cache.set('app:limits', value)
// The release has to be heard before the first hit, and hits alone never let the process read its sockets.
await new Promise((resolve) => setTimeout(resolve, 100))
await cache.get('app:limits')
const loader = async () => value
await cache.getOrLoad('limits', {}, loader)

const lru = new LRUCache({ max: 10_000 })
lru.set('app:limits', value)
const bento = new BentoCache({ default: 'memory', stores: { memory: bentostore().useL1Layer(memoryDriver({ maxItems: 10_000 })) } })
await bento.set({ key: 'app:limits', value })
const cacheable = new Cacheable()
await cacheable.set('app:limits', value)
const dedupe = createCache({ ttl: 300, storage: { type: 'memory', options: { size: 10_000 } } }).define('limits', loader)

await compare({
  'lru-cache get': async () => lru.get('app:limits'),
  'lru-cache get, awaited bare': () => lru.get('app:limits'),
  'config-cache get': () => cache.get('app:limits'),
  'config-cache getOrLoad': () => cache.getOrLoad('limits', {}, loader),
  'bentocache get (L1)': () => bento.get({ key: 'app:limits' }),
  'cacheable get (primary)': () => cacheable.get('app:limits'),
  'async-cache-dedupe (memory)': () => /** @type {any} */ (dedupe).limits('a')
}, { operations: 100_000, turns: 8, base: 'lru-cache get, awaited bare' })
const { l1Hits, loads } = cache.stats()
console.log(`config-cache: ${l1Hits} hits, ${loads} loads`)
await app.close()
await bento.disconnectAll()
process.exit()
