import { setImmediate } from 'node:timers/promises'
import { MAX_TIME_MS, type Database } from './database.ts'
import { ENTRY_FIELDS, entryOf, entryOfAll, type Entry, type EntryFields } from './entry.ts'

const TIMED = { maxTimeMS: MAX_TIME_MS }
/** So long this goes on before others get their turn. */
const TURN_MS = 5
/** What was decoded before, and what is encoded after, takes a turn of its own where there are more documents or characters. */
const FEW = 20
const SHORT = 64 * 1024
const MAX_IDS = 500

/** The fields of which entries are made, by the id of their documents. */
export async function fieldsOf (db: Database, ids: readonly string[]): Promise<Map<string, EntryFields>> {
  const found = await db.objects.find({ _id: ids.length === 1 ? ids[0]! : { $in: [...ids] } }, { projection: ENTRY_FIELDS, ...TIMED }).toArray()
  return new Map(found.map((fields) => [fields._id, fields]))
}

/**
 * Entries of fields, in their order, up to so many characters of JSON, but one at least.
 *
 * @param scores how well each matches a search
 */
export async function entriesOf (db: Database, all: readonly EntryFields[], { scores, maxCharacters = Infinity }: { scores?: ReadonlyMap<string, number>, maxCharacters?: number } = {}): Promise<Entry[]> {
  const entries: Entry[] = []
  let characters = 0
  if (all.length > FEW) await setImmediate()
  let began = performance.now()
  for (const fields of all) {
    const score = scores?.get(fields._id)
    const entry = entryOf(fields, score) ?? await wholeEntry(db, fields._id, score)
    if (entry === undefined) continue
    characters += entry.json.length
    if (characters > maxCharacters && entries.length > 0) break
    entries.push(entry)
    if (performance.now() - began < TURN_MS) continue
    await setImmediate()
    began = performance.now()
  }
  if (characters > SHORT) await setImmediate()
  return entries
}

/** The entry of a document whose text is long, or that a release wrote which stored none. Undefined where it was removed meanwhile. */
async function wholeEntry (db: Database, _id: string, score: number | undefined): Promise<Entry | undefined> {
  const fields = await db.objects.findOne({ _id }, { projection: { ...ENTRY_FIELDS, large: 1 }, ...TIMED })
  const entry = fields === null ? undefined : entryOf(fields, score)
  if (entry !== undefined || fields === null) return entry
  const whole = await db.objects.findOne({ _id }, TIMED)
  return whole === null ? undefined : entryOfAll(whole, score)
}

/** Loads single entries. Those that are asked for in one turn of the event loop are one question to the database, which begins after it. */
export class EntryLoader {
  readonly #db: Database
  #ids = new Set<string>()
  #next: Promise<ReadonlyMap<string, Entry>> | undefined

  constructor (db: Database) {
    this.#db = db
  }

  async load (id: string): Promise<Entry | null> {
    this.#ids.add(id)
    this.#next ??= this.#all()
    return (await this.#next).get(id) ?? null
  }

  async #all (): Promise<ReadonlyMap<string, Entry>> {
    await setImmediate()
    const ids = [...this.#ids]
    this.#ids = new Set()
    this.#next = undefined
    const found = new Map<string, Entry>()
    for (let first = 0; first < ids.length; first += MAX_IDS) {
      const fields = await fieldsOf(this.#db, ids.slice(first, first + MAX_IDS))
      for (const entry of await entriesOf(this.#db, [...fields.values()])) found.set(entry.id, entry)
    }
    return found
  }
}
