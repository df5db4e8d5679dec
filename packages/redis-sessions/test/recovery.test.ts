import redisLink, { type RedisLink } from '@jpulse/redis-link'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { redisServer, uniqueName, waitFor, type TestRedis } from '../../../test/helpers/index.ts'
import { FallbackStore } from '../src/stores/fallback-store.ts'
import { newId, refOf, tagOf, type SessionRef } from '../src/stores/ids.ts'
import { Keys } from '../src/stores/redis/keys.ts'
import { MemoryStore } from '../src/stores/memory-store.ts'
import { RedisStore } from '../src/stores/redis/redis-store.ts'
import type { Origin } from '../src/stores/store.ts'
import { Gates } from './support/app.ts'

const LIFETIMES = { idleTimeoutMs: 600_000, absoluteTimeoutMs: 6_000_000 }

/** Lets the test hold the sessions that are moved, each after Redis has it. */
class HeldStore extends RedisStore {
  hold: ((ref: SessionRef) => Promise<void>) | undefined

  override async create (ref: SessionRef, payload: string, origin?: Origin) {
    const stored = await super.create(ref, payload, origin)
    if (origin?.clock !== undefined) await this.hold?.(ref)
    return stored
  }
}

interface Setup { redis: TestRedis, link: RedisLink, primary: HeldStore, store: FallbackStore, away: () => Promise<void> }

async function setup (t: Test): Promise<Setup> {
  const redis = await redisServer(t)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(redisLink, { url: redis.url, siteId: uniqueName(), probeIntervalMs: 200, commandTimeoutMs: 5000 })
  const link = app.redisLink
  const primary = new HeldStore(link, new Keys((...parts) => link.key(...parts)), LIFETIMES)
  const store = new FallbackStore(primary, link, LIFETIMES, app.log)
  t.teardown(() => store.close())
  const away = async () => {
    await redis.kill()
    await waitFor(() => !link.isUp)
    await store.read(refOf(newId())!)
    t.equal(store.mode, 'memory')
  }
  return { redis, link, primary, store, away }
}

const refs = (count: number, tag = '') => Array.from({ length: count }, () => refOf(newId(tag))!)

t.test('thousands of sessions of an outage are moved in few passes, many at once', async (t) => {
  const { redis, primary, store, away } = await setup(t)
  await away()
  const made = refs(3000)
  for (const ref of made) await store.create(ref, ref.hash)
  const { all } = MemoryStore.prototype
  let passes = 0
  MemoryStore.prototype.all = function () {
    passes++
    return all.call(this)
  }
  t.teardown(() => { MemoryStore.prototype.all = all })
  let [held, most] = [0, 0]
  primary.hold = async () => {
    most = Math.max(most, ++held)
    await new Promise((resolve) => setImmediate(resolve))
    held--
  }
  await redis.restart()
  await waitFor(() => store.mode === 'redis', { what: 'the recovery', timeoutMs: 30_000 })
  t.ok(passes <= 5, `${passes} passes over the sessions of the process`)
  t.ok(most >= 20, `${most} at once`)
  for (const ref of made) if ((await primary.read(ref))?.payload !== ref.hash) t.fail('a session is lost')
})

t.test('while sessions are moved nobody waits for it, and each session is what it last was', async (t) => {
  const { redis, link, primary, store, away } = await setup(t)
  const gates = new Gates()
  t.teardown(() => gates.open('move'))
  const tag = tagOf('everywhere')
  const [before, out, changed, left, moved] = refs(5) as [SessionRef, SessionRef, SessionRef, SessionRef, SessionRef]
  const [old] = refs(1, tag) as [SessionRef]
  for (const ref of [before, out, old]) await store.create(ref, 'before')
  await away()
  for (const ref of [changed, left, moved]) await store.create(ref, 'outage')
  await store.remove(out)
  await store.removeAll(tag)
  primary.hold = async (ref) => { if (ref.hash !== moved.hash) await gates.pass('move') }
  await redis.restart()
  await gates.arrived('move', 2)

  t.equal(store.mode, 'memory', 'the recovery is under way')
  await waitFor(async () => await primary.read(moved) !== null)
  t.equal((await store.read(before))?.payload, 'before', 'in Redis since before the outage')
  t.equal((await store.read(moved))?.payload, 'outage', 'moved')
  t.equal(await store.read(out), null, 'logged out')
  t.equal(await store.read(old), null, 'logged out everywhere')
  const known = (await store.read(changed))!
  t.equal((await store.replace(changed, known.version, 'changed')).outcome, 'saved')
  t.equal((await store.read(changed))?.payload, 'changed')
  t.equal((await store.remove(left))?.payload, 'outage')
  t.equal(await store.read(left), null)
  const login = refOf(newId(tag))!
  t.ok(await store.create(login, 'new'))
  t.equal((await store.list(tag)).length, 1)
  t.equal(store.mode, 'memory', 'still under way')

  gates.open('move')
  await waitFor(() => store.mode === 'redis', { what: 'the recovery' })
  t.ok(link.isUp)
  t.equal((await primary.read(changed))?.payload, 'changed')
  for (const ref of [out, old, left]) t.equal(await primary.read(ref), null)
  for (const ref of [before, moved, login]) t.ok(await primary.read(ref))
})

t.test('a logout-all while sessions are moved ends those that were moved, and spares a login after it', async (t) => {
  const { redis, primary, store, away } = await setup(t)
  const gates = new Gates()
  t.teardown(() => gates.open('move'))
  const tag = tagOf('u')
  await away()
  // This one lets the sessions that follow it be moved with a stamp that lies a little ahead.
  await store.removeAll(tag)
  const made = refs(5, tag)
  for (const ref of made) await store.create(ref, 'outage')
  primary.hold = () => gates.pass('move')
  await redis.restart()
  await gates.arrived('move', 5)
  await store.removeAll(tag)
  const login = refOf(newId(tag))!
  t.ok(await store.create(login, 'new'))
  gates.open('move')
  await waitFor(() => store.mode === 'redis', { what: 'the recovery' })
  for (const ref of made) t.equal(await primary.read(ref), null)
  t.ok(await primary.read(login))
})

t.test('a session that was moved and then logged out elsewhere is not moved again', async (t) => {
  const { redis, primary, store, away } = await setup(t)
  const gates = new Gates()
  t.teardown(() => gates.open('move'))
  const [ref] = refs(1) as [SessionRef]
  await away()
  await store.create(ref, 'outage')
  primary.hold = () => gates.pass('move')
  await redis.restart()
  await gates.arrived('move')
  t.ok(await primary.remove(ref), 'another instance logs it out')
  const known = (await store.read(ref))!
  await store.replace(ref, known.version, 'changed')
  gates.open('move')
  await waitFor(() => store.mode === 'redis', { what: 'the recovery' })
  t.equal(await primary.read(ref), null)
})
