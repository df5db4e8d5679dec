import type { Collection } from 'mongodb'
import type { MongoLink } from 'server-kit'
import { person, type Person } from './people.ts'

/** What the charts are made of. */
export type Counted = Pick<Person, 'city' | 'joinedMonth' | 'orders' | 'spent'>

const COUNTED = { _id: 0, city: 1, joinedMonth: 1, orders: 1, spent: 1 } as const

/** What `fastify.paginate` walks, and what the charts are made of. */
export interface Directory {
  readonly source: Collection<Person> | Person[]
  /** Fills up to so many people, and returns how many were missing; repeated, or at the same time by another worker, it adds none twice. */
  seed (count: number): Promise<number>
  /** Calls back with every person, in no order. */
  each (fn: (person: Counted) => void): Promise<void>
  /** Rejects with DocumentsUnavailableError where the people are out of reach. */
  use<T> (fn: () => Promise<T>): Promise<T>
}

/** Small enough for the time limit of one operation on a slow machine. */
const SLICE = 250

/** People in this process. */
export function memoryDirectory (): Directory {
  const people: Person[] = []
  return {
    source: people,
    async seed (count) {
      const there = people.length
      for (let n = there + 1; n <= count; n++) people.push(person(n))
      return people.length - there
    },
    async each (fn) { people.forEach(fn) },
    use: (fn) => fn()
  }
}

/** People in MongoDB. */
export function mongoDirectory (collection: Collection<Person>, link: MongoLink): Directory {
  return {
    source: collection,
    seed: (count) => link.use(async () => {
      const there = await collection.countDocuments()
      if (there >= count) return 0
      await collection.createIndex({ joinedAt: -1, _id: 1 })
      for (let first = 1; first <= count; first += SLICE) {
        const slice = Array.from({ length: Math.min(SLICE, count - first + 1) }, (_, index) => person(first + index))
        await collection.insertMany(slice, { ordered: false }).catch(ignoreDuplicates)
      }
      return count - there
    }),
    each: (fn) => link.use(async () => {
      for await (const person of collection.find({}, { projection: COUNTED })) fn(person)
    }),
    use: (fn) => link.use(fn)
  }
}

/** Whoever came first put the same people there. */
function ignoreDuplicates (err: { code?: unknown }): void {
  if (err.code !== 11_000) throw err
}
