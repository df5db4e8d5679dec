import { deepEqual, equal, notEqual, ok } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { anonymous, clockOf, group, suite, type ConformanceCase } from './case.ts'

const { cases, promise } = suite()

promise('what is created is read back, anonymous or owned', async (store) => {
  for (const ref of [anonymous(), group().ref()]) {
    equal(await store.read(ref), null)
    const created = await store.create(ref, 'payload ü\n"x"')
    const read = await store.read(ref)
    equal(read?.payload, 'payload ü\n"x"')
    equal(read?.version, created?.version)
    ok(Math.abs(read!.createdAt - clockOf(store)) < 60_000)
    equal(read!.touchedAt, read!.createdAt)
  }
})

promise('what is told at once is what read tells', async (store) => {
  if (store.readNow === undefined) return
  const ref = group().ref()
  const agree = async (what: string) => {
    const read = await store.read(ref)
    const now = store.readNow!(ref)
    // A store may have to wait; where it does not, it tells the same.
    if (now !== undefined) deepEqual(now, read, what)
  }
  await agree('of none')
  const created = (await store.create(ref, 'a'))!
  await agree('of one that is new')
  await store.replace(ref, created.version, 'b')
  equal(store.readNow(ref)?.payload ?? 'b', 'b')
  await agree('of one that changed')
  await store.touch(ref)
  await agree('of one that was seen')
  await store.remove(ref)
  equal(store.readNow(ref) ?? null, null)
  await agree('of one that ended')
  const other = group().ref()
  await store.create(other, 'c')
  await store.read(other)
  await store.removeAll(other.tag)
  equal(store.readNow(other) ?? null, null)
})

promise('create never replaces', async (store) => {
  const ref = anonymous()
  ok(await store.create(ref, 'first'))
  equal(await store.create(ref, 'second'), null)
  equal((await store.read(ref))?.payload, 'first')
})

promise('replace writes where the version is the stored one, and tells what is stored where it is not', async (store) => {
  const ref = group().ref()
  const { version } = (await store.create(ref, 'a'))!
  const saved = await store.replace(ref, version, 'b')
  equal(saved.outcome, 'saved')
  notEqual(saved.outcome === 'saved' && saved.stored.version, version)
  const late = await store.replace(ref, version, 'c')
  equal(late.outcome, 'conflict')
  equal(late.outcome === 'conflict' && late.stored.payload, 'b')
  equal((await store.read(ref))?.payload, 'b')
})

promise('of parallel replaces of one version one wins', async (store) => {
  const ref = anonymous()
  const { version } = (await store.create(ref, 'a'))!
  const results = await Promise.all(Array.from({ length: 8 }, (_, index) => store.replace(ref, version, `b${index}`)))
  equal(results.filter(({ outcome }) => outcome === 'saved').length, 1)
  equal(results.filter(({ outcome }) => outcome === 'conflict').length, 7)
})

promise('nothing brings back what was removed', async (store) => {
  const ref = group().ref()
  const { version } = (await store.create(ref, 'a'))!
  equal((await store.remove(ref))?.payload, 'a')
  equal(await store.remove(ref), null)
  equal((await store.replace(ref, version, 'b')).outcome, 'gone')
  equal(await store.touch(ref), false)
  equal(await store.read(ref), null)
})

promise('replace, touch and remove of what never was change nothing', async (store) => {
  const ref = anonymous()
  const outcome = await store.replace(ref, 'x'.repeat(12), 'a').then(({ outcome }) => outcome, (err) => err.statusCode)
  // A store that cannot tell now refuses.
  ok(outcome === 'gone' || outcome === 503)
  equal(await store.touch(ref), false)
  equal(await store.remove(ref), null)
  equal(await store.read(ref), null)
})

promise('touch leaves payload and version, and is seen', async (store) => {
  const ref = group().ref()
  const created = (await store.create(ref, 'a'))!
  await sleep(15)
  equal(await store.touch(ref), true)
  const read = (await store.read(ref))!
  equal(read.version, created.version)
  equal(read.payload, 'a')
  ok(read.touchedAt > created.touchedAt)
  equal((await store.replace(ref, created.version, 'b')).outcome, 'saved')
})

promise('the sessions of a group are listed, others are not', async (store) => {
  const { tag, ref } = group()
  const [one, two, gone] = [ref(), ref(), ref()]
  for (const each of [one, two, gone, group().ref(), anonymous()]) await store.create(each, each.hash)
  await store.remove(gone)
  const listed = await store.list(tag)
  equal(listed.map(({ ref }) => ref.hash).sort().join(), [one.hash, two.hash].sort().join())
  ok(listed.every(({ ref, stored }) => stored.payload === ref.hash && ref.tag === tag && ref.owned))
})

promise('removeAll ends the sessions of a group, and no other', async (store) => {
  const { tag, ref } = group()
  const [one, two, other] = [ref(), ref(), group().ref()]
  for (const each of [one, two, other]) await store.create(each, 'a')
  equal((await store.removeAll(tag)).known.length, 2)
  equal(await store.read(one), null)
  equal(await store.read(two), null)
  ok(await store.read(other))
  equal((await store.list(tag)).length, 0)
  equal((await store.removeAll(tag)).known.length, 0)
})

promise('parallel logouts of one group end all of it, and none of them fails', async (store) => {
  const { tag, ref } = group()
  const refs = Array.from({ length: 6 }, ref)
  for (const each of refs) await store.create(each, 'a')
  await Promise.all([store.removeAll(tag), store.removeAll(tag), ...refs.slice(3).map((each) => store.remove(each)), store.removeAll(tag)])
  for (const each of refs) equal(await store.read(each), null)
  equal((await store.list(tag)).length, 0)
})

promise('removeAll and a remove of the same session at once both hold', async (store) => {
  const { tag, ref } = group()
  for (let trial = 0; trial < 10; trial++) {
    const [one, two] = [ref(), ref()]
    await store.create(one, 'a')
    await store.create(two, 'a')
    await Promise.all(trial % 2 === 0 ? [store.removeAll(tag), store.remove(one)] : [store.remove(one), store.removeAll(tag)])
    equal(await store.read(one), null)
    equal(await store.read(two), null)
  }
})

promise('a login right after removeAll is valid', async (store) => {
  const { tag, ref } = group()
  for (let trial = 0; trial < 50; trial++) {
    await store.removeAll(tag)
    const next = ref()
    ok(await store.create(next, 'a'))
    ok(await store.read(next))
  }
})

promise('removeAll can except one session, which stays writable', async (store) => {
  const { tag, ref } = group()
  const [kept, gone] = [ref(), ref()]
  const { version } = (await store.create(kept, 'a'))!
  await store.create(gone, 'a')
  const { known } = await store.removeAll(tag, { except: kept })
  equal(known.map(({ ref }) => ref.hash).join(), gone.hash)
  ok(await store.read(kept))
  equal((await store.replace(kept, version, 'b')).outcome, 'saved')
  equal((await store.list(tag)).length, 1)
  equal(await store.read(gone), null)
})

promise('a session that takes over the stamp of one that removeAll ended is refused', async (store) => {
  const { tag, ref } = group()
  const { stamp, createdAt } = (await store.create(ref(), 'a'))!
  await store.removeAll(tag)
  equal(await store.create(ref(), 'b', { stamp, createdAt }), null)
})

promise('count knows the live sessions', async (store) => {
  const before = await store.count()
  const refs = [anonymous(), group().ref()]
  for (const ref of refs) await store.create(ref, 'a')
  equal(await store.count() - before, 2)
  await store.remove(refs[0]!)
  equal(await store.count() - before, 1)
})

/** What is stored, and what ends it. */
export const sessionCases: readonly ConformanceCase[] = cases
