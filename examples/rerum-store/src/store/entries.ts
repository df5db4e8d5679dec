import { Turn } from '@jpulse/plugin-kit'
import { MAX_TIME_MS, type Database } from './database.ts'
import { charactersIn, ENTRY_FIELDS, entryOf, entryOfAll, longEntryOf, type Entry, type EntryFields } from './entry.ts'

const TIMED = { maxTimeMS: MAX_TIME_MS }
/** What waits for an entry encodes it to keep it: others get their turn after so many characters. */
const SHORT = 64 * 1024
const MAX_IDS = 500
/** Documents of a list are read in so many at once, because it may be full before the last one. */
const SOME_IDS = 100

/** The fields of which entries are made, by the id of their documents. */
async function fieldsOf (db: Database, ids: readonly string[]): Promise<Map<string, EntryFields>> {
  const found = new Map<string, EntryFields>()
  let turn = new Turn()
  // Documents are decoded one by one, as they are asked for.
  for await (const fields of db.objects.find({ _id: ids.length === 1 ? ids[0]! : { $in: [...ids] } }, { projection: ENTRY_FIELDS, ...TIMED })) {
    if (found.size === 0) turn = new Turn()
    found.set(fields._id, fields)
    if (turn.isOver) await turn.next()
  }
  return found
}

/** The same in the order of the ids. */
export async function * fieldsInOrder (db: Database, ids: readonly string[]): AsyncGenerator<EntryFields> {
  for (let first = 0; first < ids.length; first += SOME_IDS) {
    const some = ids.slice(first, first + SOME_IDS)
    const found = await fieldsOf(db, some)
    for (const id of some) if (found.has(id)) yield found.get(id)!
  }
}

/**
 * Entries of fields, in their order, up to so many characters of JSON, but one at least.
 *
 * @param scores how well each matches a search
 */
export async function entriesOf (db: Database, all: Iterable<EntryFields> | AsyncIterable<EntryFields>, { maxCharacters, scores }: { maxCharacters: number, scores?: ReadonlyMap<string, number> }): Promise<{ entries: Entry[], isCut: boolean }> {
  const entries: Entry[] = []
  const turn = new Turn()
  let characters = 0
  for await (const fields of all) {
    const entry = await entryIn(db, fields, turn, scores?.get(fields._id))
    if (entry === undefined) continue
    characters += charactersIn(entry)
    if (characters > maxCharacters && entries.length > 0) return { entries, isCut: true }
    entries.push(entry)
    if (turn.isOver) await turn.next()
  }
  return { entries, isCut: false }
}

/** Undefined where the document was removed meanwhile. */
const entryIn = async (db: Database, fields: EntryFields, turn: Turn, score?: number): Promise<Entry | undefined> => entryOf(fields, score) ?? await wholeEntry(db, fields._id, turn, score)

/** The entry of a document whose text is long, or that a release wrote which stored none. */
async function wholeEntry (db: Database, _id: string, turn: Turn, score: number | undefined): Promise<Entry | undefined> {
  const fields = await db.objects.findOne({ _id }, { projection: { ...ENTRY_FIELDS, large: 1 }, ...TIMED })
  const entry = fields === null ? undefined : entryOf(fields, score) ?? await longEntryOf(fields, turn, score)
  if (entry !== undefined || fields === null) return entry
  const whole = await db.objects.findOne({ _id }, TIMED)
  return whole === null ? undefined : entryOfAll(whole, score)
}

interface Waiting { resolve: (entry: Entry | null) => void, reject: (err: unknown) => void }

/** Loads single entries. Those that are asked for in one turn of the event loop are one question to the database, which begins after it. */
export class EntryLoader {
  readonly #db: Database
  #waiting = new Map<string, Waiting[]>()

  constructor (db: Database) {
    this.#db = db
  }

  load (id: string): Promise<Entry | null> {
    if (this.#waiting.size === 0) setImmediate(() => this.#loadAll())
    return new Promise((resolve, reject) => { this.#waiting.set(id, [...this.#waiting.get(id) ?? [], { resolve, reject }]) })
  }

  async #loadAll (): Promise<void> {
    const waiting = this.#waiting
    this.#waiting = new Map()
    try {
      const ids = [...waiting.keys()]
      for (let first = 0; first < ids.length; first += MAX_IDS) await this.#load(ids.slice(first, first + MAX_IDS), waiting)
    } catch (err) {
      // Who has its entry already hears nothing of it.
      for (const { reject } of [...waiting.values()].flat()) reject(err)
    }
  }

  async #load (ids: string[], waiting: ReadonlyMap<string, readonly Waiting[]>): Promise<void> {
    const turn = new Turn()
    const found = await fieldsOf(this.#db, ids)
    let characters = 0
    for (const id of ids) {
      const fields = found.get(id)
      const entry = fields === undefined ? undefined : await entryIn(this.#db, fields, turn)
      for (const { resolve } of waiting.get(id)!) resolve(entry ?? null)
      characters += entry === undefined ? 0 : charactersIn(entry)
      if (!turn.isOver && characters < SHORT) continue
      await turn.next()
      characters = 0
    }
  }
}
