import { BSON } from 'mongodb'
import { FST_ERR_RERUM_TOO_LARGE } from '../errors.ts'
import type { Body } from './body.ts'
import { later, newId, type Living, type LivingStored, type Stored } from './document.ts'
import { lastTimeIn, storedJson } from './entry.ts'
import { searchTextOf } from './words.ts'

/** Makes documents. Nothing here touches the database. */
export class Maker {
  readonly #idBase: string
  readonly #contextUrl: string

  constructor (idBase: string, contextUrl: string) {
    this.#idBase = idBase
    this.#contextUrl = contextUrl
  }

  uri (id: string): string {
    return this.#idBase + id
  }

  /** A new root; `origin` is where an imported one comes from. */
  root (content: Body, agent: string, op: string, { slug, origin = '' }: { slug?: string | undefined, origin?: string } = {}): LivingStored {
    const _id = newId()
    return this.#stored({ _id, tree: _id, parent: null, op, ...(slug !== undefined && { slug }) }, content, {
      ...this.#fresh(agent, slug),
      history: { prime: 'root', previous: origin, next: [] },
      releases: { previous: '', next: [], replaces: '' }
    })
  }

  /** A version made from another one. */
  version (of: LivingStored, content: Body, agent: string, op: string): LivingStored {
    const { history, isReleased, releases } = of.object.__rerum
    const uri = this.uri(of._id)
    return this.#stored({ _id: newId(), tree: of.tree, parent: of._id, op }, content, {
      ...this.#fresh(agent),
      history: { prime: history.prime === 'root' ? uri : history.prime, previous: uri, next: [] },
      releases: { previous: isReleased === '' ? releases.previous : uri, next: [], replaces: '' }
    })
  }

  /** The same document with other content. */
  overwritten (stored: LivingStored, content: Body, op: string): LivingStored {
    const { __rerum } = stored.object
    const object: Living = { ...content, '@id': stored.object['@id'], __rerum: { ...__rerum, isOverwritten: later(__rerum.isOverwritten) } }
    const { large: _large, ...rest } = stored
    return fitting({ ...rest, rev: stored.rev + 1, op, modified: nextModified(stored), ...derived(object), object })
  }

  tombstone (stored: LivingStored, agent: string, op: string): Stored {
    const { '@id': id } = stored.object
    const object = { '@id': id, __deleted: { object: stored.object, deletor: agent, time: new Date().toISOString() } }
    // It leaves the tree, and keeps its slug: nobody else may have a name that once led to it.
    const { large: _large, json: _json, ...rest } = stored
    const bare = { ...rest, rev: stored.rev + 1, op, modified: nextModified(stored), tree: stored._id, parent: null, words: [], lines: '', wordCount: 0, object }
    const whole = { ...bare, ...storedJson(object) }
    // An object of an earlier release may be about as large as the database takes, without its JSON: that is then made when it is read.
    return BSON.calculateObjectSize(whole) > MAX_DOCUMENT_BYTES ? bare : whole
  }

  #stored (place: Pick<Stored, '_id' | 'tree' | 'parent' | 'op' | 'slug'>, content: Body, __rerum: Living['__rerum']): LivingStored {
    const object: Living = { ...content, '@id': this.uri(place._id), __rerum }
    return fitting({ ...place, rev: 1, modified: nextModified(), ...derived(object), object })
  }

  #fresh (agent: string, slug = '') {
    return { '@context': this.#contextUrl, alpha: true, APIversion: '1.0.0', createdAt: new Date().toISOString(), generatedBy: agent, isOverwritten: '', isReleased: '', slug }
  }
}

/** What MongoDB takes. */
const MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
/** Of an object with its JSON; an intent that holds the document is somewhat larger. What changes later, links and a deletion, has room above it. */
const MAX_BYTES = 15 * 1024 * 1024

/**
 * A document that the database takes together with its JSON.
 *
 * @throws FST_ERR_RERUM_TOO_LARGE
 */
function fitting<T extends Stored> (stored: T): T {
  if (BSON.calculateObjectSize(stored) > MAX_BYTES) throw new FST_ERR_RERUM_TOO_LARGE()
  return stored
}

/** What is stored beside an object because reads ask for it. */
function derived (object: Living): Pick<Stored, 'words' | 'lines' | 'wordCount' | 'json' | 'large'> {
  const { words, lines } = searchTextOf(object)
  return { words, lines, wordCount: words.length, ...storedJson(object) }
}

/**
 * The time of a change in whole seconds, as `Last-Modified` has it, and always another one than before: two changes of one
 * second would have one `Last-Modified` otherwise, and who has seen the first would never hear of the second. So the last
 * of many changes may bear a time that is still to come.
 */
export function nextModified (before?: Stored): string {
  const least = before === undefined ? 0 : Date.parse(before.modified ?? lastTimeIn(before.object)) + 1000
  return new Date(Math.floor(Math.max(Date.now(), least) / 1000) * 1000).toISOString()
}

/** Content without what the store says about it. */
export function contentIn ({ object }: LivingStored): Body {
  const { '@id': _id, __rerum, ...content } = object
  return content
}
