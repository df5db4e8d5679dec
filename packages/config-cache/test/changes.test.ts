import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import Fastify from 'fastify'
import { redisLink } from '@jpulse/redis-link'
import { mongo, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { configCache, FST_ERR_CONFIG_CACHE_UNREACHABLE, watchChanges, type WatchOptions, type Watcher, type WatchState } from '../src/index.ts'
import { Oplog, type Event } from './oplog.ts'

const update = (id: number): Event => ({ operationType: 'update', ns: { db: 'shop', coll: 'users' }, documentKey: { _id: id }, updateDescription: { updatedFields: { name: 'x' }, removedFields: [] } })

async function watching (t: Test, oplog: Oplog, options: Partial<WatchOptions> = {}, cache?: { invalidate (tags: unknown): Promise<void> }): Promise<{ watcher: Watcher, dropped: string[][], states: WatchState[] }> {
  const dropped: string[][] = []
  const states: WatchState[] = []
  const watcher = await watchChanges(cache ?? { invalidate: async (tags) => { dropped.push([...tags]) } }, oplog, { all: 'users', tags: ({ documentKey }) => `user:${String(documentKey?._id)}`, onState: (state) => { states.push(state) }, ...options })
  t.teardown(() => watcher.close())
  return { watcher, dropped, states }
}

t.test('what depends on a collection is dropped when the stream stands, and then by each change', async (t) => {
  const oplog = new Oplog()
  oplog.push(update(1))
  const { dropped, watcher } = await watching(t, oplog)
  t.strictSame([dropped, watcher.state], [[['users']], 'watching'], 'what was changed before may have been read before')
  oplog.push(update(7))
  await waitFor(() => dropped.length === 2)
  oplog.push(update(8), update(9), { operationType: 'delete', ns: { db: 'shop', coll: 'users' }, documentKey: { _id: 8 } })
  await waitFor(() => dropped.length === 3)
  t.strictSame(dropped, [['users'], ['user:7'], ['user:8', 'user:9']], 'changes at hand are dropped together')
})

t.test('a stream that breaks goes on where it was, and one whose place is lost drops everything', async (t) => {
  const oplog = new Oplog()
  const { dropped, states } = await watching(t, oplog)
  oplog.push(update(1))
  await waitFor(() => dropped.length === 2)
  oplog.fail(Object.assign(new Error('connection closed'), { name: 'MongoNetworkError' }))
  oplog.push(update(2), update(3))
  await waitFor(() => dropped.flat().includes('user:3'))
  t.strictSame(dropped, [['users'], ['user:1'], ['user:2', 'user:3']], 'nothing twice, nothing lost')
  t.strictSame(oplog.opened.at(-1), { resumeAfter: { _data: 0 } })
  for (const lost of [Object.assign(new Error('history lost'), { code: 286 }), Object.assign(new Error('fatal'), { code: 280 }), Object.assign(new Error('invalid'), { code: 260 })]) {
    dropped.length = 0
    oplog.fail(lost)
    await waitFor(() => dropped.length === 1)
    t.strictSame([dropped, oplog.opened.at(-1)], [[['users']], {}], String(lost.message))
  }
  // The server forgets while the stream is away, so that the next one cannot begin where it was.
  dropped.length = 0
  oplog.push(update(4))
  await waitFor(() => dropped.length === 1)
  oplog.push(update(5))
  await waitFor(() => dropped.length === 2)
  oplog.first = 100
  oplog.fail(new Error('connection closed'))
  await waitFor(() => dropped.flat().includes('users'))
  t.ok(states.includes('behind'))
  await waitFor(() => states.at(-1) === 'watching')
})

t.test('a stream that opens and breaks at once, again and again, is opened less and less often', async (t) => {
  const oplog = new Oplog()
  const { dropped, states } = await watching(t, oplog)
  const { watch } = oplog
  const opened: number[] = []
  oplog.watch = (...given) => {
    opened.push(performance.now())
    const stream = watch.apply(oplog, given)
    return { ...stream, get resumeToken () { return stream.resumeToken }, next: () => { oplog.watch = opened.length < 4 ? oplog.watch : watch; return Promise.reject(new Error('cursor killed')) } }
  }
  oplog.fail(new Error('connection closed'))
  await waitFor(() => opened.length === 4 && states.at(-1) === 'watching', { timeoutMs: 20_000 })
  const pauses = opened.slice(1).map((at, i) => at - opened[i]!)
  t.ok(pauses.every((ms, i) => ms >= [240, 490, 990][i]!), pauses.map(Math.round).join())
  t.strictSame(dropped, [['users']])
  // One change that was told begins anew.
  oplog.push(update(1))
  await waitFor(() => dropped.length === 2, { timeoutMs: 20_000 })
  const { length } = oplog.opened
  const from = performance.now()
  oplog.fail(new Error('connection closed'))
  await waitFor(() => oplog.opened.length > length)
  t.ok(performance.now() - from < 2000, 'and not after two seconds')
})

t.test('a stream that is away is a warning of the process where nobody hears of it, once until it is back', async (t) => {
  const oplog = new Oplog()
  const warned: string[] = []
  const hear = (warning: Error) => { if (/change stream/.test(warning.message)) warned.push(warning.message) }
  process.on('warning', hear)
  t.teardown(() => process.off('warning', hear))
  const { watcher } = await watching(t, oplog, { onState: undefined })
  for (const [round, message] of ['connection closed', 'not authorized'].entries()) {
    oplog.fail(new Error(message))
    await waitFor(() => warned.length > round)
    await waitFor(() => watcher.state === 'watching')
  }
  t.match(warned, [/behind.*connection closed.*onState/, /behind.*not authorized.*onState/])
  t.equal(warned.length, 2)
})

t.test('tags that throw are a warning of their own, once, and a stream that is away later is one all the same', async (t) => {
  const oplog = new Oplog()
  const warned: string[] = []
  const hear = (warning: Error) => { if (/change stream.*(no tags|went away)/.test(warning.message)) warned.push(warning.message) }
  process.on('warning', hear)
  t.teardown(() => process.off('warning', hear))
  const { dropped } = await watching(t, oplog, { onState: undefined, tags: () => { throw new Error('no tags') } })
  for (const id of [1, 2]) {
    oplog.push(update(id))
    await waitFor(() => dropped.length === 1 + id)
  }
  t.strictSame(dropped, [['users'], ['users'], ['users']])
  oplog.fail(new Error('went away'))
  await waitFor(() => warned.some((text) => /went away/.test(text)), { what: 'the outage to be told' })
  t.match(warned, [/tags of a change stream.*was dropped: no tags/, /behind.*went away/])
  t.equal(warned.length, 2)
})

t.test('close does not wait for the next attempt to open a stream', async (t) => {
  const oplog = new Oplog()
  const { states, watcher } = await watching(t, oplog)
  const { watch } = oplog
  oplog.watch = () => { throw new Error('no primary') }
  oplog.fail(new Error('connection closed'))
  await waitFor(() => states.filter((state) => state === 'behind').length === 4)
  const attempts = states.length
  // The next attempt is a second away.
  const closed = watcher.close().then(() => 'closed')
  t.equal(await Promise.race([closed, sleep(500, 'waits')]), 'closed')
  oplog.watch = watch
  t.equal(states.length, attempts)
})

t.test('a dropped or renamed collection drops everything, and the stream goes on behind it', async (t) => {
  const oplog = new Oplog()
  const { dropped } = await watching(t, oplog)
  oplog.push({ operationType: 'drop', ns: { db: 'shop', coll: 'users' } }, { operationType: 'invalidate' })
  await waitFor(() => oplog.opened.length === 2)
  t.strictSame([dropped, oplog.opened.at(-1)], [[['users'], ['users']], { startAfter: { _data: 1 } }])
  oplog.push(update(1))
  await waitFor(() => dropped.length === 3)
  t.strictSame(dropped.at(-1), ['user:1'])
})

t.test('a change is told again until the cache has dropped it', async (t) => {
  const oplog = new Oplog()
  const dropped: unknown[] = []
  let refuses = true
  const cache = { invalidate: async (tags: unknown) => { if (refuses) throw new FST_ERR_CONFIG_CACHE_UNREACHABLE('Redis is away'); dropped.push(tags) } }
  const { watcher, states } = await watching(t, oplog, {}, cache)
  t.strictSame([watcher.state, dropped], ['behind', []], 'the application starts all the same')
  refuses = false
  await waitFor(() => watcher.state === 'watching')
  t.strictSame(dropped, [['users']])
  refuses = true
  oplog.push(update(1))
  await waitFor(() => watcher.state === 'behind')
  oplog.push(update(2))
  refuses = false
  await waitFor(() => dropped.flat().includes('user:2'))
  t.strictSame(new Set(dropped.flat()), new Set(['users', 'user:1', 'user:2']))
  t.equal(states.at(-1), 'watching')
})

t.test('tags that say nothing, throw or are too many mean everything', async (t) => {
  const oplog = new Oplog()
  const said = [null, [], () => { throw new Error('oops') }, 7, Array.from({ length: 1001 }, (_, i) => `t${i}`)]
  const errors: unknown[] = []
  const { dropped } = await watching(t, oplog, { tags: () => { const one = said.shift(); return (typeof one === 'function' ? one() : one) as string[] }, onState: (_state, err) => { if (err !== undefined) errors.push(err) } })
  for (let i = 0; i < 5; i++) {
    oplog.push(update(i))
    await waitFor(() => dropped.length === i + 2)
  }
  t.strictSame(dropped, Array.from({ length: 6 }, () => ['users']))
  t.match(errors, [{ message: 'oops' }, { code: 'FST_ERR_CONFIG_CACHE_INVALID_KEY' }])
  await t.rejects(watching(t, oplog, { all: [] }), { code: 'FST_ERR_CONFIG_CACHE_INVALID_KEY' })
  await t.rejects(watching(t, oplog, { every: 'x' } as never), { code: 'FST_ERR_CONFIG_CACHE_INVALID_OPTION' })
})

t.test('with a cache: a change behind it is seen once the stream has told of it', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(redisLink, { siteId: uniqueName() })
  await app.register(configCache, { blockTtlMs: 500 })
  await app.ready()
  let name = 'before'
  const read = () => app.configCache.getOrLoad('names', { tags: 'users' }, () => name)
  await read()
  const oplog = new Oplog()
  const watcher = await watchChanges(app.configCache, oplog, { all: 'users' })
  t.teardown(() => watcher.close())
  await read()
  name = 'after'
  t.equal(await read(), 'before', 'a write that nobody told of')
  oplog.push(update(1))
  await waitFor(async () => await read() === 'after')
})

t.test('a server without change streams refuses at once', async (t) => {
  const { db } = await mongo(t)
  await t.rejects(watchChanges({ invalidate: async () => {} }, db.collection('users'), { all: 'users' }), { name: 'MongoServerError' })
})
