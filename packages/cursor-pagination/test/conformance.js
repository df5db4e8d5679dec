import assert from 'node:assert/strict'
import fc from 'fast-check'
import { anyDocuments, anySort } from './documents.js'
import { referenceSort } from './reference-order.js'

/**
 * What every paginator must do, as a list of cases that throw where it does not. It runs on our sources in the tests
 * and on other libraries in `benchmarks/cursor-pagination/peer-conformance.bench.js`, so it knows no test runner.
 *
 * @typedef {{ sort?: Record<string, any>, limit?: number, cursor?: string | null, filter?: object, projection?: object }} PageCall
 * @typedef {{ items: any[], pageInfo: { hasNext: boolean, hasPrev: boolean, nextCursor: string | null, prevCursor: string | null } }} AnyPage
 *
 * @typedef {object} Listing documents that were loaded
 * @property {(call: PageCall) => Promise<AnyPage>} page
 * @property {(document: any) => Promise<unknown>} insert
 * @property {(id: unknown) => Promise<unknown>} remove
 * @property {(id: unknown, fields: object) => Promise<unknown>} update
 * @property {(sort: Record<string, 1 | -1>) => Promise<any[]>} [fullSort] the server's own order; else the documented one
 *
 * @typedef {object} Subject
 * @property {string} name
 * @property {ReadonlySet<import('./documents.js').Feature>} without
 * @property {(documents: any[]) => Promise<Listing>} open replaces what was loaded before
 *
 * @typedef {{ name: string, needs: Array<import('./documents.js').Feature>, run: (subject: Subject) => Promise<void> }} Case
 */

/** `npm run conformance:pagination`: every walk over the wire, through every driver. In `npm test` most are on the model of a server. */
export const FULL = process.env['CONFORMANCE'] === 'full'

const idsOf = (/** @type {any[]} */ documents) => documents.map(({ _id }) => _id instanceof Date ? _id.toISOString() : String(_id))
const count = (/** @type {number} */ n) => Array.from({ length: n }, (_, i) => ({ _id: i + 1, a: i % 3, b: `v${i}` }))

/** All pages from the first to the last. @param {Listing} listing @param {PageCall} call */
async function forwards (listing, call) {
  const pages = [await listing.page(call)]
  for (let cursor = pages[0]?.pageInfo.nextCursor; cursor; cursor = pages.at(-1)?.pageInfo.nextCursor) {
    pages.push(await listing.page({ ...call, cursor }))
    assert.ok(pages.length < 2000, 'the walk does not end')
  }
  return pages
}

/** All pages before one, the nearest first. @param {Listing} listing @param {PageCall} call @param {AnyPage | undefined} from */
async function backwards (listing, call, from) {
  const pages = []
  for (let cursor = from?.pageInfo.prevCursor; cursor; cursor = pages.at(-1)?.pageInfo.prevCursor) {
    pages.push(await listing.page({ ...call, cursor }))
    assert.ok(pages.length < 2000, 'the walk does not end')
  }
  return pages
}

const rows = (/** @type {AnyPage[]} */ pages) => pages.flatMap(({ items }) => items)

/** Walks both ways and holds the result against the one full order. @param {Listing} listing @param {any[]} documents @param {PageCall} call */
async function holds (listing, documents, { sort = {}, limit = 3 }) {
  const expected = idsOf(await listing.fullSort?.(sort) ?? referenceSort(documents, sort))
  const there = await forwards(listing, { sort, limit })
  assert.deepEqual(idsOf(rows(there)), expected, 'forwards')
  const last = /** @type {AnyPage} */ (there.at(-1))
  const back = await backwards(listing, { sort, limit }, last)
  assert.deepEqual(idsOf([...rows([...back].reverse()), ...last.items]), expected, 'backwards')
  assert.deepEqual(back.map(({ items }) => idsOf(items)), there.slice(0, -1).reverse().map(({ items }) => idsOf(items)), 'page by page')
  const first = back.at(-1) ?? there[0]
  for (const page of [there[0], first]) assert.deepEqual([page?.pageInfo.hasPrev, page?.pageInfo.prevCursor], [false, null], 'the first page has no prev')
  assert.deepEqual([last.pageInfo.hasNext, last.pageInfo.nextCursor], [false, null], 'the last page has no next')
  for (const page of there.length > 1 ? [...there, ...back] : []) assert.ok(page.items.length > 0, 'no page is empty')
}

/**
 * @param {object} [options]
 * @param {number} [options.runs] data sets of the property; each is walked both ways for `sortsPerRun` sorts
 * @param {number} [options.sortsPerRun]
 * @returns {Case[]}
 */
export function conformance ({ runs = 100, sortsPerRun = 5 } = {}) {
  return [...PLACES, ...CHANGES, {
    name: `random documents, sorts and page sizes: ${runs * sortsPerRun} walks forwards and as many backwards equal the one full order`,
    needs: [],
    run: async ({ open, without }) => {
      const calls = fc.array(fc.record({ sort: anySort(without), limit: fc.integer({ min: 1, max: 7 }) }), { minLength: sortsPerRun, maxLength: sortsPerRun })
      await fc.assert(fc.asyncProperty(anyDocuments(without), calls, async (documents, calls) => {
        const listing = await open(documents)
        for (const call of calls) await holds(listing, documents, call)
      }), { numRuns: runs })
    }
  }]
}

/**
 * Counts random walks that do not equal the one full order, instead of stopping at the first: for comparisons.
 *
 * @param {Subject} subject
 * @param {number} walks
 * @param {number} seed
 */
export async function countWrongWalks ({ open, without }, walks, seed) {
  const one = fc.tuple(anyDocuments(without), anySort(without), fc.integer({ min: 1, max: 7 }))
  let wrong = 0
  for (const [documents, sort, limit] of fc.sample(one, { numRuns: walks, seed })) {
    await holds(await open(documents), documents, { sort, limit }).catch(() => { wrong++ })
  }
  return wrong
}

/** @type {Case[]} */
const PLACES = [{
  name: 'the page before page 4 is page 3',
  needs: [],
  run: async ({ open }) => {
    const listing = await open(count(20))
    const pages = await forwards(listing, { limit: 4, sort: { a: 1 } })
    const before = await listing.page({ limit: 4, sort: { a: 1 }, cursor: pages[3]?.pageInfo.prevCursor ?? null })
    assert.deepEqual(idsOf(before.items), idsOf(pages[2]?.items ?? []))
    assert.deepEqual([before.pageInfo.hasNext, before.pageInfo.hasPrev], [true, true])
    const again = await listing.page({ limit: 4, sort: { a: 1 }, cursor: before.pageInfo.nextCursor })
    assert.deepEqual(idsOf(again.items), idsOf(pages[3]?.items ?? []))
  }
}, {
  name: 'a number of documents that is a multiple of the page size ends without an empty page',
  needs: [],
  run: async ({ open }) => {
    const documents = count(12)
    const listing = await open(documents)
    assert.equal((await forwards(listing, { limit: 4 })).length, 3)
    for (const limit of [1, 3, 4, 6, 12]) await holds(listing, documents, { limit, sort: { a: -1 } })
  }
}, {
  name: 'nothing to list is one empty page with no neighbours',
  needs: [],
  run: async ({ open }) => {
    const { items, pageInfo } = await (await open([])).page({ limit: 5 })
    assert.deepEqual([items, pageInfo.hasNext, pageInfo.hasPrev, pageInfo.nextCursor, pageInfo.prevCursor], [[], false, false, null, null])
  }
}, ...[1, -1].map((direction) => /** @type {Case} */ ({
  name: `null and missing fields are one tie, ${direction === 1 ? 'ascending' : 'descending'}`,
  needs: [],
  run: async ({ open }) => {
    const documents = Array.from({ length: 12 }, (_, i) => i % 4 === 0 ? { _id: i } : { _id: i, a: i % 4 === 1 ? null : i % 4 })
    await holds(await open(documents), documents, { sort: { a: direction }, limit: 2 })
  }
})), {
  name: 'equal values are told apart by the key',
  needs: [],
  run: async ({ open }) => {
    const documents = Array.from({ length: 9 }, (_, i) => ({ _id: (i * 4) % 9, a: 1 }))
    for (const a of [1, -1]) await holds(await open(documents), documents, { sort: { a }, limit: 2 })
  }
}, {
  name: 'values of several types follow one another',
  needs: ['mixed types'],
  run: async ({ open }) => {
    const documents = [1, 'x', null, true, new Date(0), 2.5, { x: 1 }, 'a', false, undefined].map((a, _id) => a === undefined ? { _id } : { _id, a })
    for (const a of [1, -1]) await holds(await open(documents), documents, { sort: { a }, limit: 1 })
  }
}, {
  name: 'several fields in mixed directions, one of them nested',
  needs: ['several fields'],
  run: async ({ open }) => {
    const documents = Array.from({ length: 24 }, (_, i) => ({ _id: i, a: i % 3, n: { c: i % 4 } }))
    for (const limit of [1, 2, 5]) await holds(await open(documents), documents, { sort: { a: -1, 'n.c': 1 }, limit })
  }
}, {
  name: 'a projection may hide the sort fields and _id, and they stay hidden',
  needs: ['hidden fields'],
  run: async ({ open }) => {
    const documents = Array.from({ length: 7 }, (_, i) => ({ _id: i, a: i % 2, n: { c: -i, d: i }, b: `v${i}` }))
    for (const projection of [{ b: 1, _id: 0 }, { a: 0, _id: 0, n: 0 }]) {
      const pages = await forwards(await open(documents), { sort: { 'n.c': -1 }, limit: 2, projection })
      assert.deepEqual(rows(pages), documents.map(({ b }) => ({ b })))
    }
  }
}, {
  name: 'a document with an array in a sort field is refused, wherever it stands',
  needs: ['arrays refused'],
  run: async ({ open }) => {
    /** @type {Array<[string, unknown]>} */
    const arrays = [['a', []], ['a', [2, 9]], ['n.c', { c: [1] }], ['n.c', [{ c: 1 }, { c: 7 }]], ['n.c', []], ['n.c', [5]]]
    for (const [field, value] of arrays) {
      for (const direction of [1, -1]) {
        const documents = Array.from({ length: 8 }, (_, i) => ({ _id: i, a: i, n: { c: i } }))
        const listing = await open([...documents, { _id: 5.5, a: 1, n: { c: 1 }, [field === 'a' ? 'a' : 'n']: value }])
        await assert.rejects(forwards(listing, { sort: { [field]: direction }, limit: 2 }),
          { code: 'FST_ERR_CURSOR_PAGINATION_ARRAY_FIELD', statusCode: 400 }, `${field} ${JSON.stringify(value)} ${direction}`)
      }
    }
  }
}]

/** @type {Case[]} */
const CHANGES = [{
  name: 'a walk amid inserts, deletes and updates of other fields visits every untouched document once',
  needs: [],
  run: async ({ open }) => {
    const documents = Array.from({ length: 60 }, (_, i) => ({ _id: i, a: i % 7, touched: 0 }))
    for (const back of [false, true]) {
      const listing = await open(documents)
      const call = { sort: { a: 1 }, limit: 4 }
      let page = back ? /** @type {AnyPage} */ ((await forwards(listing, call)).at(-1)) : await listing.page(call)
      const seen = idsOf(page.items)
      for (let step = 0; back ? page.pageInfo.prevCursor : page.pageInfo.nextCursor; step++) {
        await listing.insert({ _id: 100 + step, a: step % 9 })
        await listing.remove(3 * step)
        await listing.update(3 * step + 1, { touched: step })
        page = await listing.page({ ...call, cursor: back ? page.pageInfo.prevCursor : page.pageInfo.nextCursor })
        seen.push(...idsOf(page.items))
        assert.ok(step < 100, 'the walk does not end')
      }
      const untouched = documents.filter(({ _id }) => _id % 3 !== 0 || _id >= 60).map(({ _id }) => String(_id))
      for (const id of untouched) assert.equal(seen.filter((one) => one === id).length, 1, `document ${id}`)
      assert.equal(new Set(seen).size, seen.length, 'no document twice')
    }
  }
}, {
  name: 'a walk amid documents that are re-sorted, over and behind it, visits every one once that is not',
  needs: ['several fields'],
  run: async ({ open }) => {
    const documents = Array.from({ length: 60 }, (_, i) => ({ _id: i, a: i % 2, b: i % 5 }))
    for (const sort of [{ a: 1, b: -1 }, { a: -1, b: -1 }]) {
      const listing = await open(documents)
      let page = await listing.page({ sort, limit: 4 })
      const seen = idsOf(page.items)
      for (let step = 0; page.pageInfo.nextCursor && step < 200; step++) {
        // Every third is moved from one end to the other and back.
        await listing.update(3 * (step % 20), { a: (step >> 1) % 2, b: step % 5 })
        page = await listing.page({ sort, limit: 4, cursor: page.pageInfo.nextCursor })
        seen.push(...idsOf(page.items))
      }
      for (const { _id } of documents.filter(({ _id }) => _id % 3 !== 0)) assert.equal(seen.filter((one) => one === String(_id)).length, 1, `document ${_id}`)
      assert.equal(page.pageInfo.nextCursor, null)
    }
  }
}, {
  name: 'a walk goes on where the document of its cursor was deleted',
  needs: [],
  run: async ({ open }) => {
    const listing = await open(count(9))
    const first = await listing.page({ sort: { a: 1 }, limit: 3 })
    await listing.remove(first.items[2]?._id)
    const second = await listing.page({ sort: { a: 1 }, limit: 3, cursor: first.pageInfo.nextCursor })
    assert.deepEqual(idsOf(second.items), ['2', '5', '8'])
  }
}, {
  name: 'a page emptied by deletes leads back to what is left, and to nothing that is not there',
  needs: ['binding'],
  run: async ({ open }) => {
    const listing = await open(count(4).map((document) => ({ ...document, a: 1 })))
    const first = await listing.page({ sort: { a: 1 }, limit: 2 })
    await listing.remove(3)
    await listing.remove(4)
    const empty = await listing.page({ sort: { a: 1 }, limit: 2, cursor: first.pageInfo.nextCursor })
    assert.deepEqual([empty.items, empty.pageInfo.hasNext, empty.pageInfo.hasPrev], [[], false, true])
    const back = await listing.page({ sort: { a: 1 }, limit: 2, cursor: empty.pageInfo.prevCursor })
    assert.deepEqual([idsOf(back.items), back.pageInfo.hasNext, back.pageInfo.hasPrev], [['1', '2'], false, false])
    await listing.remove(1)
    await listing.remove(2)
    const nothing = await listing.page({ sort: { a: 1 }, limit: 2, cursor: first.pageInfo.nextCursor })
    assert.deepEqual([nothing.items, nothing.pageInfo.hasNext, nothing.pageInfo.hasPrev], [[], false, false])
  }
}, {
  name: 'a changed limit is honoured in the middle of a walk',
  needs: [],
  run: async ({ open }) => {
    const listing = await open(count(10))
    const seen = []
    /** @type {string | null | undefined} */
    let cursor
    for (const limit of [1, 4, 2, 5]) {
      const page = await listing.page({ sort: { a: -1 }, limit, cursor: cursor ?? null })
      seen.push(...idsOf(page.items))
      cursor = page.pageInfo.nextCursor
    }
    assert.deepEqual(seen, idsOf(referenceSort(count(10), { a: -1 })))
    assert.equal(cursor, null)
  }
}, {
  name: 'a cursor is refused beside another filter or sort',
  needs: ['binding'],
  run: async ({ open }) => {
    const listing = await open(count(10))
    const { pageInfo: { nextCursor: cursor } } = await listing.page({ filter: { a: { $lt: 2 } }, sort: { a: 1 }, limit: 2 })
    await listing.page({ filter: { a: { $lt: 2 } }, sort: { a: 1 }, limit: 2, cursor })
    for (const other of [{ filter: {} }, { filter: { a: { $lt: 3 } } }, { sort: { a: -1 } }, { sort: { a: 1, b: 1 } }]) {
      await assert.rejects(listing.page({ filter: { a: { $lt: 2 } }, sort: { a: 1 }, limit: 2, cursor, ...other }), { statusCode: 400 })
    }
  }
}]
