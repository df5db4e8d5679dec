import type { ConfigCache } from '@jpulse/config-cache'
import { FST_ERR_RERUM_SLUG_TAKEN } from '../errors.ts'
import { isDuplicate, MAX_TIME_MS, type Database, type Intent, type Link } from './database.ts'
import { isLiving, type Living, type Stored } from './document.ts'
import { tagsOf, type Change } from './tags.ts'

/** Documents to write. Where they are several versions of one object, the first one decides. */
export interface Plan {
  op: string
  tree: string
  changes: Change[]
}

/** Somebody else wrote meanwhile, and nothing was written: plan again. */
export class Conflict extends Error {}

const MAX_TAGS = 1000
const TIMED = { maxTimeMS: MAX_TIME_MS }

/**
 * Writes plans: coherently, and whole or not at all.
 *
 * A document is replaced only where it is still the one that was read (`rev`). Where one write changes several, an intent says
 * so before, and goes after; a write that was interrupted in between is completed, or undone, by whoever finds its intent.
 * No step reads and writes in one: a `$push` or `$inc` of two writers is atomic in MongoDB, and is not in FerretDB.
 */
export class Commits {
  readonly #db: Database
  readonly #cache: ConfigCache

  constructor (db: Database, cache: ConfigCache) {
    this.#db = db
    this.#cache = cache
  }

  /** @throws Conflict; FST_ERR_RERUM_SLUG_TAKEN; what config-cache and the database throw */
  async write (plan: Plan): Promise<void> {
    if (plan.changes.length > 0) await this.#coherent(tagsOf(plan.changes), () => this.#write(plan))
  }

  /** Brings an interrupted write of this tree to its end. False where there was none. */
  async recover (tree: string): Promise<boolean> {
    const intent = await this.#db.intents.findOne({ _id: tree }, TIMED)
    if (intent !== null) await this.#finish(intent)
    return intent !== null
  }

  /** Intents that have stood since the last look: their writers are dead, or very slow. */
  async sweep (seen: ReadonlySet<string>): Promise<Set<string>> {
    const intents = await this.#db.intents.find({}, { limit: 100, ...TIMED }).toArray()
    for (const intent of intents) if (seen.has(intent.op)) await this.#finish(intent)
    return new Set(intents.map(({ op }) => op))
  }

  /** A write takes at most so many tags; to write inside a write is to hold the tags of both. */
  async #coherent (tags: readonly string[], work: () => Promise<void>): Promise<void> {
    const [now, rest] = [tags.slice(0, MAX_TAGS), tags.slice(MAX_TAGS)]
    await this.#cache.write({ tags: now }, rest.length === 0 ? work : () => this.#coherent(rest, work))
  }

  async #write ({ op, tree, changes }: Plan): Promise<void> {
    const [first, ...others] = changes as [Change, ...Change[]]
    if (changes.every(({ before }) => before === null)) return this.#insert(changes.map(({ after }) => after))
    if (others.length === 0) return this.#replace(first)
    const intent: Intent = { _id: tree, op, decides: first.after._id, inserts: others.filter(isInsert).map(({ after }) => after), links: others.filter((one) => !isInsert(one)).map(linkOf) }
    await this.#announce(intent)
    try {
      await this.#replace(first)
    } catch (err) {
      if (err instanceof Conflict || err instanceof FST_ERR_RERUM_SLUG_TAKEN) await this.#db.intents.deleteOne({ _id: tree, op }, TIMED)
      throw err
    }
    await this.#complete(intent)
  }

  async #announce (intent: Intent): Promise<void> {
    try {
      await this.#db.intents.insertOne(intent)
    } catch (err) {
      throw isDuplicate(err) ? new Conflict() : err
    }
  }

  async #insert (documents: Stored[]): Promise<void> {
    try {
      await this.#db.objects.insertMany(documents)
    } catch (err) {
      throw isDuplicate(err) ? new FST_ERR_RERUM_SLUG_TAKEN(documents[0]?.slug ?? '') : err
    }
  }

  async #replace ({ before, after }: Change): Promise<void> {
    try {
      const { matchedCount } = await this.#db.objects.replaceOne({ _id: after._id, rev: before!.rev }, after, TIMED)
      if (matchedCount === 0) throw new Conflict()
    } catch (err) {
      throw await this.#isTaken(before!, after, err) ? new FST_ERR_RERUM_SLUG_TAKEN(after.slug ?? '') : err
    }
  }

  /** Whether the unique index refused a document. Not every server says so in the same words, but each can tell whose the slug is. */
  async #isTaken (before: Stored, after: Stored, err: unknown): Promise<boolean> {
    if (err instanceof Conflict || after.slug === undefined || after.slug === before.slug) return false
    if (isDuplicate(err)) return true
    const owner = await this.#db.objects.findOne({ slug: after.slug }, { projection: { _id: 1 }, ...TIMED })
    return owner !== null && owner._id !== after._id
  }

  async #complete (intent: Intent): Promise<void> {
    for (const document of intent.inserts) {
      await this.#db.objects.insertOne(document).catch((err: unknown) => { if (!isDuplicate(err)) throw err })
    }
    for (const link of intent.links) await this.#link(link, intent)
    await this.#db.intents.deleteOne({ _id: intent._id, op: intent.op }, TIMED)
  }

  /** As a replacement, but of the links alone: somebody whose lock was over may have overwritten the rest meanwhile. */
  async #link (link: Link, { _id, op }: Intent): Promise<void> {
    for (let { rev } = link; ;) {
      const { matchedCount } = await this.#db.objects.updateOne({ _id: link.id, rev },
        { $set: { op, rev: rev + 1, tree: link.tree, parent: link.parent, 'object.__rerum': link.__rerum, ...(link.modified !== undefined && { modified: link.modified }) } }, TIMED)
      if (matchedCount > 0) return
      const now = await this.#db.objects.findOne({ _id: link.id }, { projection: { rev: 1, op: 1 }, ...TIMED })
      const stands = await this.#db.intents.findOne({ _id, op }, TIMED)
      // Completed by somebody else, up to here or whole.
      if (now === null || now.op === op || stands === null) return
      rev = now.rev
    }
  }

  async #finish (intent: Intent): Promise<void> {
    const ids = [intent.decides, ...intent.links.map(({ id }) => id)]
    const documents = await this.#db.objects.find({ _id: { $in: ids } }, TIMED).toArray()
    const decider = documents.find(({ _id }) => _id === intent.decides)
    if (decider?.op !== intent.op) return this.#undo(intent, decider)
    const links = new Map(intent.links.map((link) => [link.id, link]))
    const changes = documents.map((before): Change => ({ before, after: linked(before, links.get(before._id)) }))
    await this.#coherent(tagsOf([...changes, ...intent.inserts.map((after) => ({ before: null, after }))]), () => this.#complete(intent))
  }

  /** Nothing is written yet. Its writer may only sleep, so the document it wants to replace becomes another one first. */
  async #undo ({ _id, op }: Intent, decider: Stored | undefined): Promise<void> {
    if (decider !== undefined) {
      const { matchedCount } = await this.#db.objects.updateOne({ _id: decider._id, rev: decider.rev }, { $set: { rev: decider.rev + 1 } }, TIMED)
      if (matchedCount === 0) throw new Conflict()
    }
    await this.#db.intents.deleteOne({ _id, op }, TIMED)
  }
}

const isInsert = ({ before }: Change): boolean => before === null
const linkOf = ({ before, after: { _id, tree, parent, modified, object } }: Change): Link =>
  ({ id: _id, rev: before!.rev, tree, parent, __rerum: (object as Living).__rerum, ...(modified !== undefined && { modified }) })

function linked (stored: Stored, link: Link | undefined): Stored {
  if (link === undefined || !isLiving(stored)) return stored
  return { ...stored, object: { ...stored.object, __rerum: link.__rerum } }
}
