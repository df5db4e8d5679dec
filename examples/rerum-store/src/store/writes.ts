import { randomUUID } from 'node:crypto'
import {
  FST_ERR_RERUM_BUSY, FST_ERR_RERUM_DELETED, FST_ERR_RERUM_NOT_FOUND, FST_ERR_RERUM_NOT_GENERATOR, FST_ERR_RERUM_RELEASED
} from '../errors.ts'
import type { Body } from './body.ts'
import { Conflict, type Commits, type Plan } from './commit.ts'
import { MAX_TIME_MS, type Database } from './database.ts'
import { isId, isLiving, type Living, type LivingStored, type Stored } from './document.ts'
import { contentIn, nextModified, type Maker } from './make.ts'
import type { TreeLocks } from './locks.ts'
import { Tree } from './tree.ts'

const ATTEMPTS = 10
const TIMED = { maxTimeMS: MAX_TIME_MS }

/** A plan, and what the caller gets when it is done. */
interface Planned<T> { plan: Plan, result: T }

/** Turns the content of a version into that of the next one; undefined where nothing changes. */
export type Edit = (content: Body) => Body | undefined
/** Throws where the present document is not the one that may be changed. */
export type Allow = (current: LivingStored) => void

/**
 * The writes of the store. Each reads what it changes, under the lock of its versions, makes a plan, and hands it to the
 * commit, which touches whatever depends on any document of the plan. So no write has to say what it invalidates.
 */
export class Writes {
  readonly #db: Database
  readonly #commits: Commits
  readonly #locks: TreeLocks
  readonly #make: Maker

  constructor (parts: { db: Database, commits: Commits, locks: TreeLocks, make: Maker }) {
    this.#db = parts.db
    this.#commits = parts.commits
    this.#locks = parts.locks
    this.#make = parts.make
  }

  create (content: Body, agent: string, options: { slug?: string | undefined, origin?: string } = {}): Promise<Living> {
    return this.createAll([content], agent, options).then(([object]) => object!)
  }

  async createAll (contents: readonly Body[], agent: string, options: { slug?: string | undefined, origin?: string } = {}): Promise<Living[]> {
    const op = randomUUID()
    const made = contents.map((content) => this.#make.root(content, agent, op, options))
    await this.#db.use(() => this.#commits.write({ op, tree: '', changes: made.map((after) => ({ before: null, after })) }))
    return made.map(({ object }) => object)
  }

  /** A new version; the object itself where the edit changes nothing. */
  edit (name: string, edit: Edit, agent: string, allow?: Allow): Promise<Living> {
    return this.#change<Living>(name, async (stored, op) => {
      const living = alive(stored)
      allow?.(living)
      const content = edit(contentIn(living))
      if (content === undefined) return { plan: { op, tree: stored.tree, changes: [] }, result: living.object }
      const version = this.#make.version(living, content, agent, op)
      const { __rerum } = living.object
      const linked = { ...__rerum, history: { ...__rerum.history, next: [...__rerum.history.next, version.object['@id']] } }
      const after: Stored = { ...living, op, rev: living.rev + 1, modified: nextModified(living), object: { ...living.object, __rerum: linked } }
      return { plan: { op, tree: stored.tree, changes: [{ before: living, after }, { before: null, after: version }] }, result: version.object }
    })
  }

  overwrite (name: string, content: Body, agent: string, allow?: Allow): Promise<Living> {
    return this.#change(name, async (stored, op) => {
      const living = changeable(stored, agent)
      allow?.(living)
      const after = this.#make.overwritten(living, content, op)
      return { plan: { op, tree: stored.tree, changes: [{ before: living, after }] }, result: after.object }
    })
  }

  async remove (name: string, agent: string, allow?: Allow): Promise<void> {
    await this.#change(name, async (stored, op) => {
      const living = changeable(stored, agent)
      allow?.(living)
      const tree = await this.#tree(stored.tree)
      tree.remove(living._id)
      const changes = [{ before: living, after: this.#make.tombstone(living, agent, op) }, ...tree.changes(op)]
      return { plan: { op, tree: stored.tree, changes }, result: undefined }
    })
  }

  release (name: string, slug: string | undefined, agent: string, allow?: Allow): Promise<Living> {
    return this.#change(name, async (stored, op) => {
      const living = changeable(stored, agent)
      allow?.(living)
      const { __rerum } = living.object
      const about = { ...__rerum, isReleased: new Date().toISOString(), slug: slug ?? __rerum.slug, releases: { ...__rerum.releases, replaces: __rerum.releases.previous } }
      const released: LivingStored = { ...living, ...(slug !== undefined && { slug }), object: { ...living.object, __rerum: about } }
      const changes = (await this.#tree(stored.tree)).changes(op, released)
      // The released one decides.
      changes.sort((a, b) => Number(b.after._id === living._id) - Number(a.after._id === living._id))
      return { plan: { op, tree: stored.tree, changes }, result: changes[0]!.after.object as Living }
    })
  }

  async #change<T> (name: string, plan: (stored: Stored, op: string) => Promise<Planned<T>>): Promise<T> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const known = await this.#db.use(() => this.#find(name))
      try {
        return await this.#locks.hold(known.tree, () => this.#db.use(async () => {
          const [recovered, stored] = await Promise.all([this.#commits.recover(known.tree), this.#find(known._id)])
          if (recovered || stored.tree !== known.tree) throw new Conflict()
          const planned = await plan(stored, randomUUID())
          await this.#commits.write(planned.plan)
          return planned.result
        }))
      } catch (err) {
        if (!(err instanceof Conflict)) throw err
      }
    }
    throw new FST_ERR_RERUM_BUSY()
  }

  async #find (name: string): Promise<Stored> {
    const stored = await this.#db.objects.findOne(isId(name) ? { _id: name } : { slug: name }, TIMED)
    if (stored === null) throw new FST_ERR_RERUM_NOT_FOUND(name)
    return stored
  }

  async #tree (tree: string): Promise<Tree> {
    return new Tree(await this.#db.objects.find({ tree }, TIMED).toArray(), (id) => this.#make.uri(id))
  }
}

function alive (stored: Stored): LivingStored {
  if (!isLiving(stored)) throw new FST_ERR_RERUM_DELETED()
  return stored
}

/** In place: only by who made it, and only until it is released. */
function changeable (stored: Stored, agent: string): LivingStored {
  const living = alive(stored)
  if (living.object.__rerum.generatedBy !== agent) throw new FST_ERR_RERUM_NOT_GENERATOR()
  if (living.object.__rerum.isReleased !== '') throw new FST_ERR_RERUM_RELEASED()
  return living
}
