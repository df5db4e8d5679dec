import { createHash } from 'node:crypto'
import { FST_ERR_CONFIG_CACHE_TOO_LARGE, type ConfigCache } from '@jpulse/config-cache'
import { FST_ERR_RERUM_NOT_FOUND } from '../errors.ts'
import { MAX_TIME_MS, type Database } from './database.ts'
import { isId, type Living, type Tombstone } from './document.ts'
import type { Filter } from './filter.ts'
import type { Search } from './search.ts'
import { ALL, objectTag, slugTag } from './tags.ts'

export type Outcome = 'HIT' | 'MISS' | 'BYPASS'
export interface Page { limit: number, skip: number }
type Known = Living | Tombstone

const TIMED = { maxTimeMS: MAX_TIME_MS }
/** A search looks at this many matches, in the order of their creation, to find the best ones. */
const MAX_MATCHES = 10_000
const BATCH = 200

/** The reads of one request. Every one goes through the cache. */
export class Reads {
  #outcome: Outcome = 'HIT'
  readonly #db: Database
  readonly #cache: ConfigCache

  constructor (db: Database, cache: ConfigCache) {
    this.#db = db
    this.#cache = cache
  }

  /** HIT where nothing had to be asked of the database. */
  get outcome (): Outcome {
    return this.#outcome === 'MISS' && this.#cache.mode === 'bypass' ? 'BYPASS' : this.#outcome
  }

  /** @throws FST_ERR_RERUM_NOT_FOUND */
  async object (name: string): Promise<Known> {
    const id = isId(name) ? name : await this.#cached(slugTag(name), [], async () => (await this.#db.objects.findOne({ slug: name }, { projection: { _id: 1 }, ...TIMED }))?._id ?? null)
    const object = id === null ? null : await this.#object(id)
    if (object === null) throw new FST_ERR_RERUM_NOT_FOUND(name)
    return object
  }

  /**
   * What a version was made from, nearest first. As `since`, it is composed of the cached answers for single objects, each at
   * least as new as any write that had resolved before this read began: so it depends on the very objects it shows, and on no others.
   */
  async history (name: string): Promise<Living[]> {
    const ancestors: Living[] = []
    let one = await this.object(name)
    while (isLivingObject(one) && one.__rerum.history.prime !== 'root') {
      const parent = await this.#object(idIn(one.__rerum.history.previous))
      if (parent === null || !isLivingObject(parent)) break
      ancestors.push(parent)
      one = parent
    }
    return ancestors
  }

  /** What was made from a version, each before what was made from it. */
  async since (name: string): Promise<Living[]> {
    const descendants: Living[] = []
    const start = await this.object(name)
    const open = childrenOf(start)
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      const child = await this.#object(id)
      if (child === null || !isLivingObject(child)) continue
      descendants.push(child)
      open.push(...childrenOf(child))
    }
    return descendants
  }

  query ({ filter, text, tags }: Filter, { limit, skip }: Page): Promise<Known[]> {
    return this.#cached(`query:${digest(text)}:${limit}:${skip}`, [...tags, ALL], async () => {
      const found = await this.#db.objects.find(filter, { projection: { object: 1 }, sort: { _id: 1 }, limit, skip, ...TIMED }).toArray()
      return found.map(({ object }) => object)
    })
  }

  search ({ words, match, tags }: Search, { limit, skip }: Page): Promise<Living[]> {
    const text = JSON.stringify([words, match])
    return this.#cached(`search:${digest(text)}:${limit}:${skip}`, [...tags, ALL], () => this.#search(words, match, { limit, skip }))
  }

  async #search (words: readonly string[], match: Search['match'], { limit, skip }: Page): Promise<Living[]> {
    const condition = match === 'all' ? { $all: [...words] } : { $in: [...words] }
    const matches = this.#db.objects.find({ words: condition }, { projection: { words: 1 }, sort: { _id: 1 }, limit: MAX_MATCHES, batchSize: BATCH, ...TIMED })
    const scored: Array<{ _id: string, score: number }> = []
    // The cursor waits for the server between two batches, and so this process answers others meanwhile.
    for await (const { _id, words: has } of matches) scored.push({ _id, score: words.filter((word) => has.includes(word)).length / Math.sqrt(has.length) })
    const page = scored.sort((a, b) => b.score - a.score || (a._id < b._id ? -1 : 1)).slice(skip, skip + limit)
    const objects = await this.#db.objects.find({ _id: { $in: page.map(({ _id }) => _id) } }, { projection: { object: 1 }, ...TIMED }).toArray()
    const byId = new Map(objects.map(({ _id, object }) => [_id, object]))
    return page.flatMap(({ _id, score }) => {
      const object = byId.get(_id)
      return object === undefined || !isLivingObject(object) ? [] : [{ ...object, __rerum: { ...object.__rerum, score: Math.round(score * 10_000) / 10_000 } }]
    })
  }

  #object (id: string): Promise<Known | null> {
    return this.#cached(objectTag(id), [], async () => (await this.#db.objects.findOne({ _id: id }, { projection: { object: 1 }, ...TIMED }))?.object ?? null)
  }

  async #cached<T> (key: string, tags: readonly string[], load: () => Promise<T>): Promise<T> {
    const loader = () => {
      this.#outcome = 'MISS'
      return this.#db.use(load)
    }
    try {
      return await this.#cache.getOrLoad(key, { tags: [...tags] }, loader)
    } catch (err) {
      if (!(err instanceof FST_ERR_CONFIG_CACHE_TOO_LARGE)) throw err
      // Too large to be kept is not too large to be answered.
      return loader()
    }
  }
}

const digest = (text: string): string => createHash('sha256').update(text).digest('base64url')
const isLivingObject = (object: Known): object is Living => !('__deleted' in object)
const idIn = (uri: string): string => uri.slice(uri.lastIndexOf('/') + 1)
const childrenOf = (object: Known): string[] => isLivingObject(object) ? object.__rerum.history.next.map(idIn).reverse() : []
