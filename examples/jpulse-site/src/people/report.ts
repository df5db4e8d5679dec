import { type Static, Type } from 'typebox'
import type { Directory } from './directory.ts'

const Row = Type.Object({ name: Type.String(), people: Type.Integer(), orders: Type.Integer(), spent: Type.Integer() })

/** Tag of everything that is computed from the people. */
export const PEOPLE = 'people'
export const REPORT_TTL_MS = 300_000

/** What the charts show. */
export const Report = Type.Object({ people: Type.Integer(), cities: Type.Array(Row), months: Type.Array(Row) })
export type Report = Static<typeof Report>

/** Reads every person twice: the slow query that one instance runs and all others find in the cache. */
export async function makeReport (directory: Directory): Promise<Report> {
  const [cities, months] = await Promise.all([grouped(directory, '$city'), grouped(directory, '$joinedMonth')])
  return { people: cities.reduce((sum, { people }) => sum + people, 0), cities, months }
}

async function grouped (directory: Directory, field: string): Promise<Report['cities']> {
  const rows = await directory.aggregate([
    { $group: { _id: field, people: { $sum: 1 }, orders: { $sum: '$orders' }, spent: { $sum: '$spent' } } },
    { $sort: { _id: 1 } }
  ])
  return rows.map(({ _id, people, orders, spent }) => ({ name: String(_id), people: Number(people), orders: Number(orders), spent: Number(spent) }))
}
