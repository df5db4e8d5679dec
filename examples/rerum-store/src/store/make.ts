import type { Body } from './body.ts'
import { later, newId, type Living, type LivingStored, type Stored } from './document.ts'
import { wordsOf } from './words.ts'

/** Makes documents. Nothing here touches the database. */
export class Maker {
  readonly #idBase: string

  constructor (idBase: string) {
    this.#idBase = idBase
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
    return { ...stored, rev: stored.rev + 1, op, words: wordsOf(object), object }
  }

  tombstone (stored: LivingStored, agent: string, op: string): Stored {
    const { '@id': id } = stored.object
    const object = { '@id': id, __deleted: { object: stored.object, deletor: agent, time: new Date().toISOString() } }
    // It leaves the tree, and keeps its slug: nobody else may have a name that once led to it.
    return { ...stored, rev: stored.rev + 1, op, tree: stored._id, parent: null, words: [], object }
  }

  #stored (place: Pick<Stored, '_id' | 'tree' | 'parent' | 'op' | 'slug'>, content: Body, __rerum: Living['__rerum']): LivingStored {
    const object: Living = { ...content, '@id': this.uri(place._id), __rerum }
    return { ...place, rev: 1, words: wordsOf(object), object }
  }

  #fresh (agent: string, slug = '') {
    return { createdAt: new Date().toISOString(), generatedBy: agent, isOverwritten: '', isReleased: '', slug }
  }
}

/** Content without what the store says about it. */
export function contentIn ({ object }: LivingStored): Body {
  const { '@id': _id, __rerum, ...content } = object
  return content
}
