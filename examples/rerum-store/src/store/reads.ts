import { createHash } from 'node:crypto'
import type { ConfigCache } from '@jpulse/config-cache'
import type { Paginate } from '@jpulse/cursor-pagination'
import { Turn } from '@jpulse/plugin-kit'
import { FST_ERR_RERUM_ANSWER_TOO_LARGE, FST_ERR_RERUM_NOT_FOUND } from '../errors.ts'
import { MAX_TIME_MS, type Database } from './database.ts'
import { isId } from './document.ts'
import { EntryLoader } from './entries.ts'
import { charactersIn, type Entry } from './entry.ts'
import type { Filter } from './filter.ts'
import { queryPage, searchPage, type EntryPage, type PageRequest } from './pages.ts'
import type { Parts } from './parts.ts'
import type { Search } from './search.ts'
import { ALL, objectTag, slugTag } from './tags.ts'

export type Outcome = 'HIT' | 'MISS' | 'BYPASS'

/** Versions of an object, and the object that was asked for, which is not among them. */
export interface Versions { of: Entry, entries: Entry[] }

const TIMED = { maxTimeMS: MAX_TIME_MS }
/** Of one answer. What would be larger can be read in parts: the versions of a later or an earlier one. */
const MAX_CHARACTERS = 64 * 1024 * 1024
const MAX_VERSIONS = 20_000
const AT_ONCE = 500

/** The reads of one request. Every one goes through the cache. */
export class Reads {
  #outcome: Outcome = 'HIT'
  readonly #db: Database
  readonly #cache: ConfigCache
  readonly #paginate: Paginate
  readonly #parts: Parts
  readonly #loader: EntryLoader
  /** What this request has read. */
  readonly #known = new Map<string, Entry | null>()
  #characters = 0
  #versions = 0
  readonly #turn = new Turn()
  #foreseen = false

  constructor ({ db, cache, paginate, parts }: { db: Database, cache: ConfigCache, paginate: Paginate, parts: Parts }) {
    this.#db = db
    this.#cache = cache
    this.#paginate = paginate
    this.#parts = parts
    this.#loader = new EntryLoader(db)
  }

  /** HIT where nothing had to be asked of the database. */
  get outcome (): Outcome {
    return this.#outcome === 'MISS' && this.#cache.mode === 'bypass' ? 'BYPASS' : this.#outcome
  }

  /** @throws FST_ERR_RERUM_NOT_FOUND */
  async object (name: string): Promise<Entry> {
    const id = isId(name) ? name : await this.#cached(slugTag(name), [], async () => (await this.#db.objects.findOne({ slug: name }, { projection: { _id: 1 }, ...TIMED }))?._id ?? null)
    const entry = id === null ? null : await this.#entry(id)
    if (entry === null) throw new FST_ERR_RERUM_NOT_FOUND(name)
    return entry
  }

  /**
   * What a version was made from, nearest first. As `since`, it is composed of the cached answers for single objects, each at
   * least as new as any write that had resolved before this read began: so it depends on the very objects it shows, and on no others.
   */
  async history (name: string): Promise<Versions> {
    const of = await this.object(name)
    const entries: Entry[] = []
    for (let { parent } = of; parent !== null;) {
      const ancestor = await this.#version(parent, of, 'parent')
      if (ancestor === null) break
      entries.push(ancestor)
      parent = ancestor.parent
    }
    return { of, entries }
  }

  /** What was made from a version, each before what was made from it. */
  async since (name: string): Promise<Versions> {
    const of = await this.object(name)
    const entries: Entry[] = []
    const open = [...of.next].reverse()
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      const descendant = await this.#version(id, of, 'next')
      if (descendant === null) continue
      entries.push(descendant)
      open.push(...[...descendant.next].reverse())
    }
    return { of, entries }
  }

  query ({ filter, text, tags }: Filter, page: PageRequest): Promise<EntryPage> {
    return this.#listed(keyOf('query', text, page), [...tags, ALL], () => queryPage(this.#db, this.#paginate, filter, page))
  }

  search (search: Search, page: PageRequest): Promise<EntryPage> {
    return this.#listed(keyOf('search', search.text, page), [...search.tags, ALL], () => searchPage(this.#db, search, page))
  }

  /** One more version of an object. Where something has to be loaded, everything in that direction is: two questions to the database, however many they are. */
  async #version (id: string, of: Entry, direction: 'parent' | 'next'): Promise<Entry | null> {
    if (this.#outcome === 'MISS' && !this.#foreseen && !this.#known.has(id)) await this.#foresee(of, direction)
    const entry = this.#known.get(id) ?? await this.#entry(id)
    if (entry === null || entry.version === null) return null
    this.#characters += charactersIn(entry)
    if (this.#characters > MAX_CHARACTERS || ++this.#versions > MAX_VERSIONS) throw new FST_ERR_RERUM_ANSWER_TOO_LARGE()
    if (this.#turn.isOver) await this.#turn.next()
    return entry
  }

  /** Reads what will be asked for. Which versions there are is no more than a guess here: what is shown follows from the entries alone. */
  async #foresee ({ id, tree }: Entry, direction: 'parent' | 'next'): Promise<void> {
    this.#foreseen = true
    const parents = await this.#db.use(() => this.#parents(tree))
    const ids = direction === 'parent' ? ancestorsOf(id, parents) : descendantsOf(id, parents)
    let characters = 0
    for (let first = 0; first < ids.length && characters < MAX_CHARACTERS; first += AT_ONCE) {
      const entries = await Promise.all(ids.slice(first, first + AT_ONCE).map((one) => this.#entry(one)))
      characters += entries.reduce((sum, entry) => sum + (entry === null ? 0 : charactersIn(entry)), 0)
    }
  }

  async #parents (tree: string): Promise<Map<string, string | null>> {
    const parents = new Map<string, string | null>()
    for await (const { _id, parent } of this.#db.objects.find({ tree }, { projection: { parent: 1 }, sort: { _id: 1 }, limit: MAX_VERSIONS, ...TIMED })) {
      parents.set(_id, parent)
      if (this.#turn.isOver) await this.#turn.next()
    }
    return parents
  }

  async #entry (id: string): Promise<Entry | null> {
    const { entries: [entry = null] } = await this.#listed(`object:${id}`, [objectTag(id)], async () => {
      const loaded = await this.#loader.load(id)
      return { entries: loaded === null ? [] : [loaded], more: false, cursor: null }
    })
    this.#known.set(id, entry)
    return entry
  }

  async #listed (key: string, tags: readonly string[], load: () => Promise<EntryPage>): Promise<EntryPage> {
    const since = this.#parts.moment()
    let made: EntryPage | undefined
    const kept = await this.#cached(key, tags, async () => {
      made = await load()
      return this.#parts.keep(made)
    })
    const page = made ?? await this.#parts.whole(kept)
    if (page !== undefined) return page
    // What it names was dropped: made anew, it is there again.
    this.#outcome = 'MISS'
    return this.#parts.remade(key, kept, since, () => this.#db.use(async () => {
      const page = await load()
      await this.#parts.keep(page)
      return page
    }))
  }

  #cached<T> (key: string, tags: readonly string[], load: () => Promise<T>): Promise<T> {
    return this.#cache.getOrLoad(key, { tags: [...tags] }, () => {
      this.#outcome = 'MISS'
      return this.#db.use(load)
    })
  }
}

function ancestorsOf (id: string, parents: ReadonlyMap<string, string | null>): string[] {
  const ids = new Set<string>()
  for (let parent = parents.get(id) ?? null; parent !== null && !ids.has(parent); parent = parents.get(parent) ?? null) ids.add(parent)
  return [...ids]
}

/** Ids grow with time, so a parent comes before what was made from it. */
function descendantsOf (id: string, parents: ReadonlyMap<string, string | null>): string[] {
  const ids = new Set([id])
  for (const [one, parent] of parents) if (parent !== null && ids.has(parent)) ids.add(one)
  ids.delete(id)
  return [...ids]
}

const keyOf = (kind: string, text: string, { limit, skip, cursor = '' }: PageRequest): string =>
  `list:${kind}:${createHash('sha256').update(JSON.stringify([text, limit, skip, cursor])).digest('base64url')}`
