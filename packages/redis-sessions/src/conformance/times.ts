import { equal, ok } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { StoredSession } from '../stores/header.ts'
import type { SessionRef } from '../stores/ids.ts'
import { anonymous, clockOf, group, LONG, suite, type ConformanceCase } from './case.ts'

const { cases, promise } = suite()

promise('a session that takes over times keeps them', async (store) => {
  const ref = group().ref()
  const { stamp, createdAt } = (await store.create(anonymous(), 'a'))!
  const moved = (await store.create(ref, 'b', { stamp: stamp - 5000_000, createdAt: createdAt - 5000, touchedAt: createdAt - 1000 }))!
  equal(moved.stamp, stamp - 5000_000)
  equal(moved.createdAt, createdAt - 5000)
  equal(moved.touchedAt, createdAt - 1000)
})

promise('a late removeAll spares the sessions that were made after it was asked for', async (store) => {
  const { tag, ref } = group()
  const [before, after] = [ref(), ref()]
  await store.create(before, 'a')
  await sleep(60)
  const asked = performance.now()
  // More than the command may take on a busy machine: its time is added to what it ends.
  await sleep(1500)
  await store.create(after, 'a')
  await store.removeAll(tag, { ageMs: performance.now() - asked })
  equal(await store.read(before), null)
  ok(await store.read(after))
})

promise('a session that is not seen ends after the idle timeout, one that is seen does not', async (store) => {
  const { tag, ref } = group()
  const [idle, seen] = [ref(), ref()]
  await store.create(idle, 'a')
  await store.create(seen, 'a')
  const end = performance.now() + 2000
  while (performance.now() < end) {
    equal(await store.touch(seen), true)
    await sleep(100)
  }
  equal(await store.read(idle), null)
  ok(await store.read(seen))
  equal((await store.list(tag)).length, 1)
}, { idleTimeoutMs: 1500, absoluteTimeoutMs: 600_000 })

promise('a session ends after the absolute timeout, however often it is seen', async (store) => {
  const ref = group().ref()
  await store.create(ref, 'a')
  const end = performance.now() + 1000
  while (performance.now() < end) {
    await store.touch(ref)
    await sleep(50)
  }
  equal(await store.read(ref), null)
  equal(await store.touch(ref), false)
}, { idleTimeoutMs: 700, absoluteTimeoutMs: 800 })

promise('a replace that is no activity leaves when the session was seen, and when it ends', async (store) => {
  const [ref, seen] = [group().ref(), anonymous()]
  const [created, other] = await Promise.all([store.create(ref, 'a'), store.create(seen, 'a')]) as [StoredSession, StoredSession]
  await sleep(600)
  const saved = await store.replace(ref, created.version, 'b', undefined, false)
  equal((await store.replace(seen, other.version, 'b')).outcome, 'saved')
  equal(saved.outcome === 'saved' && saved.stored.touchedAt, created.touchedAt)
  const read = await store.read(ref)
  equal(read?.payload, 'b')
  equal(read?.touchedAt, created.touchedAt)
  await sleep(1000)
  equal(await store.read(ref), null)
  equal((await store.read(seen))?.payload, 'b')
}, { idleTimeoutMs: 1500, absoluteTimeoutMs: 600_000 })

promise('lifetimes that a call gives hold for its session', async (store) => {
  const long = { idleTimeoutMs: 60_000, absoluteTimeoutMs: 60_000 }
  const [created, touched, replaced, usual, short] = Array.from({ length: 5 }, group().ref) as [SessionRef, SessionRef, SessionRef, SessionRef, SessionRef]
  const made = await store.create(replaced, 'a')
  await store.replace(replaced, made!.version, 'b', long)
  await store.create(touched, 'a')
  await store.touch(touched, { lifetimes: long })
  await store.create(created, 'a', undefined, long)
  await store.create(usual, 'a')
  await store.create(short, 'a', undefined, { ...long, absoluteTimeoutMs: 1000 })
  await sleep(1100)
  for (const ref of [usual, short]) equal(await store.read(ref), null)
  for (const ref of [created, touched, replaced]) ok(await store.read(ref))
}, { idleTimeoutMs: 1000, absoluteTimeoutMs: 600_000 })

promise('a touch that is dated back is noted so, and the session lives from now all the same', async (store) => {
  const ref = group().ref()
  await store.create(ref, 'a')
  await store.touch(ref, { agoMs: 1900 })
  const { touchedAt } = (await store.read(ref))!
  ok(Math.abs(clockOf(store) - 1900 - touchedAt) < 1000)
  await sleep(400)
  ok(await store.read(ref))
}, { idleTimeoutMs: 2000, absoluteTimeoutMs: 600_000 })

promise('times of another clock are shifted to that of the store, and what is over by then is not made', async (store) => {
  const clock = clockOf(store) - 3_600_000
  const { createdAt, touchedAt } = (await store.create(group().ref(), 'a', { stamp: (clock - 5000) * 1000, createdAt: clock - 5000, touchedAt: clock - 1000, clock }))!
  ok(Math.abs(clockOf(store) - 5000 - createdAt) < 2000)
  equal(touchedAt - createdAt, 4000)
  const now = clockOf(store)
  equal(await store.create(group().ref(), 'a', { stamp: now * 1000, createdAt: now - LONG.absoluteTimeoutMs, touchedAt: now }), null)
  equal(await store.create(group().ref(), 'a', { stamp: now * 1000, createdAt: now - LONG.idleTimeoutMs - 1, touchedAt: now - LONG.idleTimeoutMs - 1 }), null)
})

promise('of a session that timed out it is told once, with its notice, and of one that ended never, where the store tells', async (store) => {
  const { tag, ref } = group()
  const [idle, ended, all] = [ref(), ref(), group()]
  const heard: string[] = []
  store.onExpired = (expired) => { for (const { hash, notice } of expired) heard.push(`${hash} ${notice}`) }
  for (const each of [idle, ended, all.ref()]) await store.create(each, 'a', undefined, undefined, 'notice')
  await store.remove(ended)
  await store.removeAll(all.tag)
  await sleep(500)
  for (const each of [idle, ended, idle]) {
    equal(await store.read(each), null)
    await store.missed?.(each)
  }
  equal((await store.list(tag)).length, 0)
  ok(await store.create(all.ref(), 'a', undefined, undefined, 'another'))
  ok(heard.length === 0 || heard.join() === `${idle.hash} notice`)
}, { idleTimeoutMs: 400, absoluteTimeoutMs: 60_000 })

/** When sessions end, and by whose clock. */
export const timeCases: readonly ConformanceCase[] = cases
