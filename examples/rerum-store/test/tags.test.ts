import t from 'tap'
import { readFilter } from '../src/store/filter.ts'
import { readSearch } from '../src/store/search.ts'
import { ALL, ANY, tagsOf } from '../src/store/tags.ts'
import { openDatabase } from '../src/store/database.ts'
import { caller, store } from './helper.ts'

t.setTimeout(120_000)

/** Deterministic, so that a failure can be looked at again. */
function numbers (seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * below)
  }
}

const random = numbers(7)
const pick = <T>(list: readonly T[]): T => list[random(list.length)]!
const NAMES = ['a', 'b', 'c']
const VALUES = [0, 1, '0', '1', 'one', 'one two', true, false, null]

function randomValue (depth: number): unknown {
  if (depth > 2 || random(3) > 0) return pick(VALUES)
  // FerretDB takes no array within an array.
  if (random(2) === 0) return Array.from({ length: random(3) }, () => random(2) === 0 ? pick(VALUES) : randomObject(depth + 1))
  return randomObject(depth + 1)
}

function randomObject (depth = 0): Record<string, unknown> {
  return Object.fromEntries(NAMES.filter(() => random(3) > 0).map((name) => [name, randomValue(depth)]))
}

function randomCondition (): unknown {
  switch (random(7)) {
    case 0: return { $in: [pick(VALUES), pick(VALUES)] }
    case 1: return { $all: [pick(VALUES)] }
    case 2: return { $eq: pick(VALUES) }
    case 3: return { $ne: pick(VALUES) }
    case 4: return { $exists: random(2) === 0 }
    default: return pick(VALUES)
  }
}

function randomFilter (depth = 0): Record<string, unknown> {
  const path = () => Array.from({ length: 1 + random(2) }, () => pick([...NAMES, ...NAMES, '0'])).join('.')
  const filter: Record<string, unknown> = Object.fromEntries(Array.from({ length: 1 + random(2) }, () => [path(), randomCondition()]))
  if (depth < 2 && random(3) === 0) filter[pick(['$and', '$or', '$nor'])] = [randomFilter(depth + 1), randomFilter(depth + 1)]
  return filter
}

t.test('whatever matches a filter or a search has one of its tags, so that no write can change an answer unnoticed', async (t) => {
  const app = await store(t)
  const call = caller(app)
  const bodies = Array.from({ length: 150 }, () => ({ ...randomObject(), some: 1 }))
  t.equal((await call('POST', '/api/bulkCreate', bodies)).status, 201)
  const { objects } = openDatabase(app)
  const stored = await objects.find({}).toArray()
  const tags = new Map(stored.map((after) => [after._id, new Set(tagsOf([{ before: null, after }]))]))
  let [matches, narrow] = [0, 0]
  for (let i = 0; i < 300; i++) {
    const filter = readFilter(randomFilter())
    const found = await objects.find(filter.filter, { projection: { _id: 1 } }).toArray()
    matches += found.length
    if (!filter.tags.includes(ANY)) narrow++
    const unnoticed = found.filter(({ _id }) => !filter.tags.some((tag) => tags.get(_id)!.has(tag)))
    if (unnoticed.length > 0) t.fail(filter.text)
  }
  for (const match of ['any', 'all'] as const) {
    const search = readSearch({ searchText: 'one two', options: { match } })
    const found = stored.filter(({ words }) => match === 'all' ? search.words.every((word) => words.includes(word)) : search.words.some((word) => words.includes(word)))
    t.ok(found.length > 0)
    t.ok(found.every(({ _id }) => search.tags.some((tag) => tags.get(_id)!.has(tag))))
  }
  t.ok(matches > 300 && narrow > 50)
  t.comment(`${matches} matches of 300 filters, ${narrow} of which have a tag of their own`)
})

t.test('a document with more properties than a write can name touches every query', async (t) => {
  const wide = { _id: 'a', rev: 1, op: '', tree: 'a', parent: null, words: [], object: { '@id': 'x', __rerum: {} as never, list: Array.from({ length: 2000 }, (_, n) => n) } }
  const tags = tagsOf([{ before: null, after: wide }])
  t.ok(tags.includes(ALL))
  t.ok(tags.length < 1000)
})

t.test('equal filters have one text, and values in which order counts do not', async (t) => {
  t.equal(readFilter({ a: 1, b: { $gt: 1, $lt: 3 } }).text, readFilter({ b: { $lt: 3, $gt: 1 }, a: 1 }).text)
  t.not(readFilter({ a: { x: 1, y: 2 } }).text, readFilter({ a: { y: 2, x: 1 } }).text)
})
