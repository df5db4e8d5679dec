import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { waitFor } from '../../../test/helpers/index.ts'
import { Commits } from '../src/store/commit.ts'
import { openDatabase, type Database } from '../src/store/database.ts'
import { isLiving, type Living } from '../src/store/document.ts'
import { TreeLocks } from '../src/store/locks.ts'
import { Maker } from '../src/store/make.ts'
import { Tree } from '../src/store/tree.ts'
import { Writes } from '../src/store/writes.ts'
import { ALICE, caller, idOf, store } from './helper.ts'

t.setTimeout(180_000)

const BASE = 'http://store.test/v1/id/'
const STEPS = ['insertOne', 'insertMany', 'replaceOne', 'updateOne', 'deleteOne'] as const

/** A database whose writer dies after some steps: none of its later ones arrives. */
function dying (db: Database, after: number): Database {
  let steps = 0
  const mortal = <T extends object>(collection: T): T => new Proxy(collection, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      if (!STEPS.includes(name as typeof STEPS[number])) return value.bind(target)
      return async (...args: unknown[]) => {
        if (steps++ >= after) throw new Error('killed')
        return value.apply(target, args)
      }
    }
  })
  return { ...db, objects: mortal(db.objects), intents: mortal(db.intents) }
}

function writesOn (app: FastifyInstance, db: Database): Writes {
  return new Writes({ db, commits: new Commits(db, app.configCache), locks: new TreeLocks(app.redisLink), make: new Maker(BASE, 'http://store.test/v1/context.json') })
}

/** What is stored about the versions is what follows from which was made from which. */
async function isWhole (t: Test, { objects, intents }: Database): Promise<void> {
  const documents = await objects.find({}).toArray()
  t.equal(await intents.countDocuments(), 0, 'no intent stands')
  const living = documents.filter(isLiving)
  const ids = new Set(living.map(({ _id }) => _id))
  t.ok(living.every(({ parent }) => parent === null || ids.has(parent)), 'every parent lives')
  t.strictSame(new Tree(living, (id) => BASE + id).changes('').map(({ before, after }) => [before, after]), [], 'nothing would have to change')
}

const OPERATIONS: Record<string, (writes: Writes, x: Living) => Promise<unknown>> = {
  update: (writes, x) => writes.edit(idOf(x), () => ({ text: 'new' }), ALICE),
  delete: (writes, x) => writes.remove(idOf(x), ALICE),
  release: (writes, x) => writes.release(idOf(x), undefined, ALICE)
}

for (const [name, operation] of Object.entries(OPERATIONS)) {
  t.test(`a writer that dies in the middle of ${name}, at any step, leaves all of it or nothing`, async (t) => {
    const app = await store(t)
    await app.ready()
    const call = caller(app)
    const db = openDatabase(app)
    const outcomes: string[] = []
    for (let after = 0, done = false; !done; after++) {
      const { json: r } = await call('POST', '/api/create', { text: 'r' })
      const x: Living = (await call('PUT', '/api/update', { '@id': r['@id'], text: 'x' })).json
      const a: Living = (await call('PUT', '/api/update', { '@id': x['@id'], text: 'a' })).json
      const before = JSON.stringify(await Promise.all([r, x, a].map((one) => call('GET', `/id/${idOf(one)}`).then(({ json }) => json))))
      done = await operation(writesOn(app, dying(db, after)), x).then(() => true, (err: Error) => {
        if (err.message !== 'killed') throw err
        return false
      })
      // Whoever writes next to these versions finds it.
      t.equal((await call('PATCH', '/api/patch', { '@id': r['@id'], text: 'r' })).status, 200)
      await isWhole(t, db)
      const now = JSON.stringify(await Promise.all([r, x, a].map((one) => call('GET', `/id/${idOf(one)}`).then(({ json }) => json))))
      outcomes.push(now === before ? 'nothing' : 'all')
      if (name === 'update') t.equal(await db.objects.countDocuments({ parent: idOf(x) }), now === before ? 1 : 2)
    }
    t.ok(outcomes.length >= 4, outcomes.join())
    t.equal(outcomes.at(-1), 'all')
    t.equal(outcomes[0], 'nothing')
  })
}

t.test('an interrupted write is completed without another one, and every read is told', async (t) => {
  const app = await store(t)
  await app.ready()
  const call = caller(app)
  const db = openDatabase(app)
  const { json: x } = await call('POST', '/api/create', { text: 'x' })
  t.equal((await call('POST', '/api/query', { '__rerum.history.previous': x['@id'] })).json.length, 0)
  await t.rejects(writesOn(app, dying(db, 2)).edit(idOf(x), () => ({ text: 'late' }), ALICE), { message: 'killed' })
  const found = await waitFor(async () => {
    const { json } = await call('POST', '/api/query', { '__rerum.history.previous': x['@id'] })
    return json.length === 1 && json[0]
  }, { timeoutMs: 60_000, everyMs: 100 })
  t.equal(found.text, 'late')
  await waitFor(async () => await db.intents.countDocuments() === 0, { timeoutMs: 60_000 })
  t.same((await call('GET', `/since/${idOf(x)}`)).json, [found])
  await isWhole(t, db)
})

t.test('a writer that slept through the end of its lock does not write what it had planned', async (t) => {
  const app = await store(t)
  await app.ready()
  const call = caller(app)
  const db = openDatabase(app)
  const { json: x } = await call('POST', '/api/create', { text: 'x' })
  // It announced its write, and sleeps; somebody else undoes that; it wakes up.
  let woken = (): void => {}
  const asleep = new Promise<void>((resolve) => { woken = resolve })
  let announced = (): void => {}
  const announcing = new Promise<void>((resolve) => { announced = resolve })
  const sleepy: Database = {
    ...db,
    objects: new Proxy(db.objects, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name)
        if (name !== 'replaceOne') return typeof value === 'function' ? value.bind(target) : value
        return async (...args: unknown[]) => { announced(); await asleep; return (value as (...args: unknown[]) => unknown).apply(target, args) }
      }
    })
  }
  const late = writesOn(app, sleepy).edit(idOf(x), () => ({ text: 'late' }), ALICE)
  await announcing
  const intents = await db.intents.find({}).toArray()
  t.equal(intents.length, 1)
  await new Commits(db, app.configCache).recover(idOf(x))
  t.equal((await db.intents.countDocuments()), 0)
  woken()
  const object = await late
  t.equal(object.text, 'late', 'it planned again')
  t.same((await call('GET', `/id/${idOf(x)}`)).json.__rerum.history.next, [object['@id']], 'and wrote once')
  await isWhole(t, db)
})
