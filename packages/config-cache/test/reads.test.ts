import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { redisLink } from '@jpulse/redis-link'
import { redisServer, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { configCache, memorySource, versionOf, type CacheEvents, type ConfigCache, type FastifyConfigCacheOptions } from '../src/index.ts'
import { L1 } from '../src/levels/l1.ts'
import { ttlsOf } from '../src/levels/ttls.ts'
import { documentKey } from '../src/names.ts'

// How one process reads: slow and failing loads, lives, bounds, names, and what it tells of all that.

t.setTimeout(100_000)

async function build (t: Test, options: FastifyConfigCacheOptions = {}, url?: string, logger: object | boolean = false, siteId = uniqueName()): Promise<ConfigCache> {
  const app: FastifyInstance = Fastify({ logger })
  t.teardown(() => app.close())
  await app.register(redisLink, { url, siteId })
  await app.register(configCache, { source: memorySource(), blockTtlMs: 500, ...options })
  await app.ready()
  return app.configCache
}

function listen<Name extends keyof CacheEvents> (t: Test, name: Name): Array<CacheEvents[Name]> {
  const heard: Array<CacheEvents[Name]> = []
  const listener = (message: unknown) => { heard.push(message as CacheEvents[Name]) }
  subscribe(name, listener)
  t.teardown(() => unsubscribe(name, listener))
  return heard
}

/** A loader that answers when it is let go. */
function held (): { loader: () => Promise<unknown>, letGo: (value: unknown) => void, runs: () => number } {
  let letGo: (value: unknown) => void = () => {}
  let runs = 0
  return { loader: () => { runs++; return new Promise((resolve) => { letGo = resolve }) }, letGo: (value) => letGo(value), runs: () => runs }
}

t.test('a slow load: after the soft timeout a reader gets the last known value where he asked for it, and the load goes on', async (t) => {
  const cache = await build(t)
  const told = listen(t, 'jpulse:config-cache:stale')
  const soft = { staleOnError: true, loaderSoftTimeoutMs: 20 }
  t.equal(await cache.getOrLoad('a', { staleOnError: true }, async () => 'old'), 'old')
  await cache.invalidate('a')
  const slow = held()
  t.equal(await cache.getOrLoad('a', soft, slow.loader), 'old')
  t.equal(await cache.getOrLoad('a', soft, slow.loader), 'old', 'whoever comes meanwhile too')
  const patient = cache.getOrLoad('a', {}, slow.loader)
  t.equal(slow.runs(), 1)
  slow.letGo('new')
  t.equal(await patient, 'new')
  t.equal(await cache.getOrLoad('a', soft, slow.loader), 'new', 'what it brought is kept')
  t.equal(cache.stats().stale, 2)
  t.match(told, [{ key: 'a', err: { code: 'FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT' } }, { key: 'a' }])
  // Nothing is known: the loader is waited for.
  const first = held()
  const waiting = cache.getOrLoad('b', soft, first.loader)
  await sleep(50)
  first.letGo('loaded')
  t.equal(await waiting, 'loaded')
})

t.test('the last known value is also one that was a hit, and a refusal of the loader is its answer', async (t) => {
  const cache = await build(t)
  const known = { staleOnError: true }
  const away = async () => { throw new Error('away') }
  await cache.getOrLoad('a', {}, async () => 1)
  t.equal(await cache.getOrLoad('a', known, away), 1, 'a hit')
  await cache.invalidate('a')
  t.equal(await cache.getOrLoad('a', known, away), 1)
  await t.rejects(cache.getOrLoad('a', known, async () => { throw Object.assign(new Error('gone'), { statusCode: 404 }) }), { message: 'gone' })
  for (const statusCode of [408, 425, 429, 499]) t.equal(await cache.getOrLoad('a', known, async () => { throw Object.assign(new Error('not now'), { statusCode }) }), 1)
  await cache.getOrLoad('b', { ttlMs: 1 }, async () => ({ n: 2 }))
  await cache.getOrLoad('c', { ttlMs: () => 0 }, async () => 'not kept')
  await sleep(5)
  t.strictSame([await cache.getOrLoad('b', known, away), await cache.getOrLoad('c', known, away)], [{ n: 2 }, 'not kept'], 'whoever read it, be it kept or not')
  const few = await build(t, { maxEntries: 2 })
  for (let i = 0; i < 5; i++) for (const key of ['hot', `${i}`]) await few.getOrLoad(key, { ttlMs: 1000 }, async () => key)
  await few.getOrLoad('hot', { ttlMs: 1 }, async () => 'hot')
  t.equal(await few.getOrLoad('hot', { ...known, tags: 'new' }, away), 'hot', 'what is read again and again is known as long as it is held')
  await cache.set('d', 'document')
  t.equal(await cache.get('d'), 'document')
  t.equal(await cache.get('d', known), 'document')
})

t.test('a flag is its default where the source fails or is slow', async (t) => {
  const slow = held()
  const told = listen(t, 'jpulse:config-cache:stale')
  const signals: unknown[] = []
  const source = { ...memorySource(), load: (_collection: string, _key: string, context?: { signal: AbortSignal }) => { signals.push(context?.signal); return slow.loader() }, save: async () => {}, remove: async () => false, list: async () => [] }
  const cache = await build(t, { source })
  t.equal(await cache.isFeatureEnabled('ui', { default: true, loaderSoftTimeoutMs: 20 }), true)
  t.equal(await cache.isFeatureEnabled('ui', { default: false, loaderSoftTimeoutMs: 20 }), false)
  t.equal(slow.runs(), 1)
  t.ok(signals[0] instanceof AbortSignal, 'the source hears when nobody waits any more')
  slow.letGo({ enabled: true })
  t.equal(await cache.isFeatureEnabled('ui', { default: false, staleOnError: true }), true)
  t.equal(told.length, 2)
  await t.rejects(cache.get('a', { loaderTimeoutMs: 20 }), { code: 'FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT' })
  t.ok((signals.at(-1) as AbortSignal).aborted)
})

for (const mode of ['local', 'bypass'] as const) {
  t.test(`a database that takes 2 s has one query of a key at a time, however many ask and write, in mode ${mode}`, async (t) => {
    const cache = await build(t, { enabled: mode === 'local' })
    t.equal(cache.mode, mode)
    let running = 0
    let most = 0
    let loads = 0
    const loader = async () => {
      loads++
      most = Math.max(most, ++running)
      // A database that is slower than the 300 reads are asked.
      await sleep(2000)
      running--
      return loads
    }
    const reads: Array<Promise<unknown>> = []
    for (let i = 0; i < 30; i++) {
      for (let j = 0; j < 10; j++) reads.push(cache.getOrLoad('a', {}, loader))
      if (i % 10 === 5) await cache.invalidate('a')
      await sleep(10)
    }
    await Promise.all(reads)
    t.equal(reads.length, 300)
    t.equal(most, 1)
    t.ok(loads <= 2, `${loads} loads`)
    t.comment(`${reads.length} reads, ${loads} loads, ${most} at a time`)
  })
}

t.test('the TTL of a value: its own function decides, and jitter shortens it', async (t) => {
  const ttls = (ttlOf: (value: unknown) => number) => ttlsOf({ ttlMs: 1, l2TtlMs: 2, ttlOf }, { days: 3 }, 0)
  t.strictSame(ttlsOf({ ttlMs: 1000, l2TtlMs: 2000 }, 'x', 0), { hereMs: 1000, sharedMs: 2000 })
  t.strictSame(ttls((value) => (value as { days: number }).days * 1000), { hereMs: 3000, sharedMs: 3000 })
  t.equal(ttls(() => 0), null)
  for (const bad of [1.5, -1, NaN, Infinity, '5' as never, undefined as never, 1e15]) t.throws(() => ttls(() => bad), RangeError)
  const all = Array.from({ length: 1000 }, () => ttlsOf({ ttlMs: 1000, l2TtlMs: 1 }, 'x', 0.2)!)
  t.ok(all.every(({ hereMs, sharedMs }) => Number.isInteger(hereMs) && hereMs >= 800 && hereMs <= 1000 && sharedMs === 1))
  t.ok(new Set(all.map(({ hereMs }) => hereMs)).size > 50)

  const cache = await build(t)
  let loads = 0
  const load = async () => ({ n: ++loads })
  await cache.getOrLoad('kept', { ttlMs: ({ n }) => n * 60_000 }, load)
  t.strictSame(await cache.getOrLoad('kept', {}, load), { n: 1 })
  await cache.getOrLoad('not kept', { ttlMs: () => 0 }, load)
  t.strictSame(await cache.getOrLoad('not kept', { ttlMs: () => 0 }, load), { n: 3 })
  t.equal(cache.stats().unkept, 0, 'as it was asked for')
  t.strictSame(await cache.getOrLoad('wrong', { ttlMs: () => NaN }, load), { n: 4 }, 'the reader gets his value')
  t.strictSame(await cache.getOrLoad('worse', { ttlMs: () => { throw new Error('mine') } }, load), { n: 5 })
  t.equal(cache.stats().unkept, 2)
  await t.rejects(build(t, { ttlJitter: 1.5 }), { message: /ttlJitter must be a number from 0 to 1/ })
})

t.test('what came from Redis ends with it', async (t) => {
  const redis = await redisServer(t)
  const site = uniqueName()
  const [one, other] = [await build(t, { ttlJitter: 0 }, redis.url, false, site), await build(t, { ttlJitter: 0 }, redis.url, false, site)]
  await waitFor(() => one.mode === 'coherent' && other.mode === 'coherent', { timeoutMs: 20_000 })
  let loads = 0
  const read = (cache: ConfigCache) => cache.getOrLoad('a', { ttlMs: 2000 }, async () => ++loads)
  const began = performance.now()
  t.equal(await read(one), 1)
  const client = redis.connect()
  await waitFor(async () => (await client.keys('*:cache:c:*')).length === 1)
  const [key] = await client.keys('*:cache:c:*')
  await client.pexpire(key!, 300)
  t.equal(await read(other), 1)
  t.equal(other.stats().l2Hits, 1)
  await waitFor(async () => await read(other) === 2)
  t.ok(performance.now() - began < 2000, 'not a life of its own')
  // Whoever reads often asks how long that is a few times, not with each hit.
  await client.config('RESETSTAT')
  const from = performance.now()
  for (let i = 0; i < 200; i++) await other.getOrLoad('a', { ttlMs: 1 }, async () => ++loads)
  const asked = Number(/cmdstat_pttl:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0)
  t.ok(asked <= 2 + (performance.now() - from) / 20, `${asked} times`)
})

t.test('clear voids the loads in flight, for those who take a last known value too', async (t) => {
  const cache = await build(t)
  const slow = held()
  const early = cache.getOrLoad('a', {}, slow.loader)
  await waitFor(() => slow.runs() === 1)
  await cache.clear()
  const late = cache.getOrLoad('a', {}, async () => 'after')
  const other = held()
  const noting = cache.getOrLoad('b', { staleOnError: true }, other.loader)
  await waitFor(() => other.runs() === 1)
  await cache.clear()
  slow.letGo('before')
  other.letGo('before')
  t.strictSame([await early, await noting], ['before', 'before'])
  await t.rejects(cache.getOrLoad('b', { staleOnError: true }, async () => { throw new Error('away') }), { message: 'away' })
  t.equal(await late, 'after', 'it does not join what began before')
  t.equal(await cache.getOrLoad('a', {}, async () => 'again'), 'after', 'what was before is not kept')
})

t.test('a value whose JSON would lose what is in it is handed out as it is, counted, and refused by set', async (t) => {
  const cache = await build(t)
  const lossy = [new Map([[1, 2]]), { users: [{ roles: new Set(['a']) }] }, Buffer.from('x'), [new Uint8Array(3)], { when: /x/ }, [Promise.resolve(1)], new Error('x')]
  for (const [i, value] of lossy.entries()) {
    t.equal(await cache.getOrLoad(`k${i}`, {}, () => value), await value)
    await t.rejects(cache.set('a', value), { code: 'FST_ERR_CONFIG_CACHE_INVALID_VALUE' })
  }
  t.equal(cache.stats().unkept, lossy.length)
  t.equal(cache.stats().entries, 0)
  t.strictSame(await cache.getOrLoad('dates', {}, () => ({ at: new Date(0), id: { toJSON: () => 'x' } })), { at: '1970-01-01T00:00:00.000Z', id: 'x' }, 'what has a JSON form is that on every level')
  const many = Array.from({ length: 1001 }, (_, i) => `t${i}`)
  await t.rejects(cache.getOrLoad('many', { tags: many }, () => 1), { code: 'FST_ERR_CONFIG_CACHE_INVALID_KEY', message: /more than 1000/ })
})

t.test('names of documents that are read once do not pile up', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const heap = () => {
    collect()
    return process.memoryUsage().heapUsed
  }
  const cache = await build(t, { maxBytes: 100_000 })
  const read = async (from: number) => {
    for (let i = from; i < from + 20_000; i++) await cache.get(`${'x'.repeat(200)}${i}`)
  }
  await read(0)
  const before = heap()
  await read(20_000)
  const grown = heap() - before
  t.ok(grown < 4_000_000, `${grown} bytes more, of 11 MB of names`)
})

t.test('the bound of the process counts keys and tags', async (t) => {
  const l1 = new L1(100_000, 1_000_000)
  const long = (i: number) => `${i}`.padStart(500, 'x')
  for (let i = 0; i < 1000; i++) l1.set(long(i), 0, 1, Array.from({ length: 10 }, (_, n) => `${n}${long(i)}`), Infinity)
  t.ok(l1.size > 0 && l1.size < 1_000_000 / 10_000, `${l1.size} entries of more than 10 kB each`)
  const cache = await build(t, { maxBytes: 100_000 })
  for (let i = 0; i < 20; i++) await cache.getOrLoad(`k${i}`, { staleOnError: true }, async () => 'x'.repeat(20_000))
  const known = await Promise.all(Array.from({ length: 20 }, (_, i) => cache.getOrLoad(`k${i}`, { staleOnError: true, tags: 'new' }, async () => { throw new Error('away') }).then(() => 1, () => 0)))
  t.ok(known.reduce<number>((sum, one) => sum + one, 0) <= 4, 'and so does that of last known values')
})

t.test('values that are not remembered take no last known value its place', async (t) => {
  const cache = await build(t, { maxEntries: 4 })
  const away = async () => { throw new Error('away') }
  await cache.getOrLoad('a', { staleOnError: true }, async () => 'old')
  for (let i = 0; i < 10; i++) await cache.getOrLoad(`session${i}`, { remembered: false, l2: false } as object, async () => i)
  t.equal(await cache.getOrLoad('a', { staleOnError: true }, away), 'old')
  await cache.invalidate('session9')
  await t.rejects(cache.getOrLoad('session9', { staleOnError: true }, away), { message: 'away' })
})

t.test('different places of documents have different keys, and different values different versions', async () => {
  const collection = fc.stringMatching(/^[A-Za-z0-9_.-]{1,8}$/)
  const place = fc.tuple(collection, fc.string({ minLength: 1, maxLength: 8, unit: fc.constantFrom('a', ':', 'config', '_', '.') }))
  fc.assert(fc.property(place, place, (a, b) => (documentKey(...a) === documentKey(...b)) === (a.join('\n') === b.join('\n'))), { numRuns: 1000 })
  fc.assert(fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
    const shuffled = (value: unknown): unknown => typeof value !== 'object' || value === null ? value : Array.isArray(value) ? value.map(shuffled) : Object.fromEntries(Object.entries(value).reverse().map(([name, part]) => [name, shuffled(part)]))
    return versionOf(a) === versionOf(shuffled(a)) && (versionOf(a) === versionOf(b)) === (JSON.stringify(sorted(a)) === JSON.stringify(sorted(b)))
  }), { numRuns: 500 })
})

function sorted (value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return ['list', ...value.map(sorted)]
  return ['record', ...Object.entries(value).map(([name, part]) => [name, sorted(part)]).sort(([a], [b]) => String(a) < String(b) ? -1 : 1)]
}

t.test('hits, misses, loads and what Redis does not take are published, counted and said once', async (t) => {
  const redis = await redisServer(t)
  const lines: string[] = []
  const cache = await build(t, {}, redis.url, { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } })
  await waitFor(() => cache.mode === 'coherent', { timeoutMs: 20_000 })
  const [hits, misses, loads, unkept] = [listen(t, 'jpulse:config-cache:hit'), listen(t, 'jpulse:config-cache:miss'), listen(t, 'jpulse:config-cache:load'), listen(t, 'jpulse:config-cache:unkept')]
  await Promise.all([1, 2].map(() => cache.getOrLoad('a', {}, async () => 1)))
  await cache.getOrLoad('a', {}, async () => 1)
  await cache.getOrLoad('b', {}, async () => { throw new Error('away') }).catch(() => {})
  await cache.write({ keys: 'c', values: { c: 1 } }, async () => {})
  await cache.getOrLoad('c', {}, async () => 2)
  t.strictSame(hits, [{ key: 'a', level: 'flight' }, { key: 'a', level: 'process' }, { key: 'c', level: 'redis' }])
  t.strictSame(misses, [{ key: 'a' }, { key: 'b' }])
  t.match(loads, [{ key: 'a', ms: Number, err: undefined }, { key: 'b', ms: Number, err: { message: 'away' } }])
  // Full, and told to evict nothing.
  await redis.connect().config('SET', 'maxmemory', '1')
  for (const key of ['d', 'e']) t.equal(await cache.getOrLoad(key, {}, async () => 1), 1)
  await waitFor(() => cache.stats().unshared >= 2)
  await waitFor(() => unkept.length >= 2)
  t.match(unkept[0], { key: 'd', level: 'redis', reason: /OOM/ })
  const refusals = listen(t, 'jpulse:config-cache:write')
  for (let i = 0; i < 3; i++) await t.rejects(cache.set('a', i), { code: 'FST_ERR_CONFIG_CACHE_UNREACHABLE' })
  t.match(refusals, Array.from({ length: 3 }, () => ({ step: 'refused', tags: ['config:config:a'], reason: /OOM/ })))
  t.equal(cache.stats().refused, 3)
  const said = (text: string) => lines.filter((line) => line.includes(text)).length
  t.equal(said('a value is not shared through Redis'), 1)
  t.equal(said('a write was refused'), 1)
  await redis.kill()
  await waitFor(() => cache.mode === 'bypass')
  await waitFor(() => cache.stats().interruptions >= 1)
  t.ok(lines.some((line) => line.includes('nothing is cached') && line.includes('Redis is away')))
})

t.test('peek returns at once what may be served at this moment, and nothing else', async (t) => {
  const redis = await redisServer(t)
  for (const [mode, url] of [['local', undefined], ['coherent', redis.url]] as const) {
    const cache = await build(t, {}, url)
    await waitFor(() => cache.mode === mode, { what: `mode ${mode}` })
    t.equal(cache.peek('a'), undefined, 'what was not loaded')
    await cache.getOrLoad('a', { tags: 'of:1', ttlMs: 60_000, l2: false }, async () => ({ n: 1 }))
    const { l1Hits } = cache.stats()
    t.same(cache.peek('a'), { n: 1 })
    t.equal(cache.peek('a', ['of:1']), cache.peek('a', 'of:1'), 'the same object')
    t.equal(cache.peek('a', 'of:2'), undefined, 'what does not bear the tag that is asked for')
    t.equal(cache.stats().l1Hits, l1Hits + 3, 'counted as hits')
    await cache.write({ tags: 'of:1' }, async () => { t.equal(cache.peek('a'), undefined, 'what a write is changing') })
    t.equal(cache.peek('a'), undefined, 'what a write has changed')
    await cache.getOrLoad('none', { ttlMs: 60_000 }, async () => null)
    t.equal(cache.peek('none'), null)
    t.throws(() => cache.peek('config:config:a'), { code: 'FST_ERR_CONFIG_CACHE_RESERVED' })
    await cache.close()
    t.equal(cache.peek('none'), undefined, 'without a lease')
  }
})

t.test('peek serves nothing after a lease that nobody renewed, be the process busy ever since', async (t) => {
  const redis = await redisServer(t)
  const cache = await build(t, { leaseMs: 300 }, redis.url)
  await waitFor(() => cache.mode === 'coherent', { what: 'a lease' })
  await cache.getOrLoad('a', { l2: false }, async () => 1)
  t.equal(cache.peek('a'), 1)
  const until = performance.now() + 400
  while (performance.now() < until);
  t.equal(cache.peek('a'), undefined)
})
