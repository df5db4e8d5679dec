import { equal, ok } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { StoredSession } from '../stores/header.ts'
import type { SessionRef } from '../stores/ids.ts'
import { anonymous, clockOf, group, judge, LONG, stopwatch, suite, type ConformanceCase } from './case.ts'

const { cases, promise } = suite()

/** How well a store that is elsewhere may know its own clock. */
const CLOCK_MS = 1000

function isBetween (time: number, from: number, to: number): void {
  ok(time >= from - CLOCK_MS && time <= to + CLOCK_MS, `${time} is not between ${from} and ${to}`)
}

promise('a session that takes over times keeps them', async (store) => {
  const ref = group().ref()
  const { stamp, createdAt } = (await store.create(anonymous(), 'a'))!
  const moved = (await store.create(ref, 'b', { stamp: stamp - 5000_000, createdAt: createdAt - 5000, touchedAt: createdAt - 1000 }))!
  equal(moved.stamp, stamp - 5000_000)
  equal(moved.createdAt, createdAt - 5000)
  equal(moved.touchedAt, createdAt - 1000)
})

promise('a late removeAll spares the sessions that were made after it was asked for', (store) => judge(async () => {
  const { tag, ref } = group()
  const [before, after] = [ref(), ref()]
  await store.create(before, 'a')
  await sleep(60)
  const asked = performance.now()
  await sleep(1500)
  await store.create(after, 'a')
  const ageMs = performance.now() - asked
  const isOver = stopwatch()
  await store.removeAll(tag, { ageMs })
  equal(await store.read(before), null)
  // The time that the command took is added to what it ends.
  if (isOver(1400)) return false
  ok(await store.read(after))
  return true
}))

promise('a session that is not seen ends after the idle timeout, one that is seen does not', (store) => judge(async () => {
  const { tag, ref } = group()
  const [idle, seen] = [ref(), ref()]
  await store.create(idle, 'a')
  let isOver = stopwatch()
  await store.create(seen, 'a')
  for (let index = 0; index < 20; index++) {
    const isNextOver = stopwatch()
    const isAlive = await store.touch(seen)
    if (isOver(1500)) return false
    equal(isAlive, true)
    isOver = isNextOver
    await sleep(100)
  }
  equal(await store.read(idle), null)
  const alive = await store.read(seen)
  const listed = await store.list(tag)
  if (isOver(1500)) return false
  ok(alive)
  equal(listed.length, 1)
  return true
}), { idleTimeoutMs: 1500, absoluteTimeoutMs: 600_000 })

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

promise('a replace that is no activity leaves when the session was seen, and when it ends', (store) => judge(async () => {
  const [ref, seen] = [group().ref(), anonymous()]
  const isOver = stopwatch()
  const [created, other] = await Promise.all([store.create(ref, 'a'), store.create(seen, 'a')]) as [StoredSession, StoredSession]
  await sleep(600)
  const isSeenOver = stopwatch()
  const saved = await store.replace(ref, created.version, 'b', undefined, false)
  const { outcome } = await store.replace(seen, other.version, 'b')
  const read = await store.read(ref)
  if (isOver(1500)) return false
  equal(outcome, 'saved')
  equal(saved.outcome === 'saved' && saved.stored.touchedAt, created.touchedAt)
  equal(read?.payload, 'b')
  equal(read?.touchedAt, created.touchedAt)
  await sleep(1000)
  equal(await store.read(ref), null)
  const left = await store.read(seen)
  if (isSeenOver(1500)) return false
  equal(left?.payload, 'b')
  return true
}), { idleTimeoutMs: 1500, absoluteTimeoutMs: 600_000 })

promise('lifetimes that a call gives hold for its session', (store) => judge(async () => {
  const long = { idleTimeoutMs: 60_000, absoluteTimeoutMs: 60_000 }
  const [created, touched, replaced, usual, short] = Array.from({ length: 5 }, group().ref) as [SessionRef, SessionRef, SessionRef, SessionRef, SessionRef]
  const isOver = stopwatch()
  const made = await store.create(replaced, 'a')
  await store.replace(replaced, made!.version, 'b', long)
  await store.create(touched, 'a')
  await store.touch(touched, { lifetimes: long })
  if (isOver(1000)) return false
  await store.create(created, 'a', undefined, long)
  await store.create(usual, 'a')
  await store.create(short, 'a', undefined, { ...long, absoluteTimeoutMs: 1000 })
  await sleep(1100)
  for (const ref of [usual, short]) equal(await store.read(ref), null)
  const alive = [await store.read(created), await store.read(touched), await store.read(replaced)]
  if (isOver(long.idleTimeoutMs)) return false
  for (const stored of alive) ok(stored)
  return true
}), { idleTimeoutMs: 1000, absoluteTimeoutMs: 600_000 })

promise('a touch that is dated back is noted so, and the session lives from now all the same', (store) => judge(async () => {
  const ref = group().ref()
  const isOver = stopwatch()
  await store.create(ref, 'a')
  const before = clockOf(store)
  const isTouchOver = stopwatch()
  await store.touch(ref, { agoMs: 1900 })
  const after = clockOf(store)
  const noted = await store.read(ref)
  if (isOver(2000)) return false
  isBetween(noted!.touchedAt, before - 1900, after - 1900)
  await sleep(400)
  const alive = await store.read(ref)
  if (isTouchOver(2000)) return false
  ok(alive)
  return true
}), { idleTimeoutMs: 2000, absoluteTimeoutMs: 600_000 })

promise('times of another clock are shifted to that of the store, and what is over by then is not made', async (store) => {
  const before = clockOf(store)
  const clock = before - 3_600_000
  const { createdAt, touchedAt } = (await store.create(group().ref(), 'a', { stamp: (clock - 5000) * 1000, createdAt: clock - 5000, touchedAt: clock - 1000, clock }))!
  isBetween(createdAt, before - 5000, clockOf(store) - 5000)
  equal(touchedAt - createdAt, 4000)
  const now = clockOf(store)
  const [old, idle] = [now - LONG.absoluteTimeoutMs - CLOCK_MS, now - LONG.idleTimeoutMs - CLOCK_MS]
  equal(await store.create(group().ref(), 'a', { stamp: now * 1000, createdAt: old, touchedAt: now }), null)
  equal(await store.create(group().ref(), 'a', { stamp: now * 1000, createdAt: idle, touchedAt: idle }), null)
})

promise('of a session that timed out it is told once, with its notice, and of one that ended never, where the store tells', (store) => judge(async () => {
  const { tag, ref } = group()
  const [idle, ended, all] = [ref(), ref(), group()]
  const heard: string[] = []
  store.onExpired = (expired) => { for (const { hash, notice } of expired) heard.push(`${hash} ${notice}`) }
  const isOver = stopwatch()
  for (const each of [idle, ended, all.ref()]) await store.create(each, 'a', undefined, undefined, 'notice')
  await store.remove(ended)
  await store.removeAll(all.tag)
  if (isOver(400)) return false
  await sleep(500)
  for (const each of [idle, ended, idle]) {
    equal(await store.read(each), null)
    await store.missed?.(each)
  }
  equal((await store.list(tag)).length, 0)
  ok(await store.create(all.ref(), 'a', undefined, undefined, 'another'))
  const told = heard.filter((one) => !one.endsWith('another'))
  ok(told.length === 0 || told.join() === `${idle.hash} notice`)
  return true
}), { idleTimeoutMs: 400, absoluteTimeoutMs: 60_000 })

/** When sessions end, and by whose clock. */
export const timeCases: readonly ConformanceCase[] = cases
