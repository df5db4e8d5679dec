import type {} from '@jpulse/config-cache'
import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import type { Counted, Directory } from './directory.ts'

const RowSchema = Type.Object({ name: Type.String(), people: Type.Integer(), orders: Type.Integer(), spent: Type.Integer() })

type Row = Static<typeof RowSchema>

/** Tag of everything that is computed from the people. */
export const PEOPLE = 'people'
export const REPORT_TTL_MS = 300_000

/** What the charts show. */
export const ReportSchema = Type.Object({ people: Type.Integer(), cities: Type.Array(RowSchema), months: Type.Array(RowSchema) })
export type Report = Static<typeof ReportSchema>

/** The report of now, from the cache where it is there. */
export async function currentReport (app: FastifyInstance): Promise<Report> {
  const { directory } = app.documents
  return await app.configCache.getOrLoad('analytics', { tags: [PEOPLE], ttlMs: REPORT_TTL_MS }, () => makeReport(directory)) as Report
}

/** Reads every person: the slow work that one instance does, and whose result all others find in the cache. */
async function makeReport (directory: Directory): Promise<Report> {
  const [cities, months] = [new Map<string, Row>(), new Map<string, Row>()]
  let people = 0
  await directory.each((person) => {
    people++
    count(cities, person.city, person)
    count(months, person.joinedMonth, person)
  })
  return { people, cities: sorted(cities), months: sorted(months) }
}

function count (rows: Map<string, Row>, name: string, { orders, spent }: Counted): void {
  let row = rows.get(name)
  if (row === undefined) rows.set(name, row = { name, people: 0, orders: 0, spent: 0 })
  row.people++
  row.orders += orders
  row.spent += spent
}

function sorted (rows: Map<string, Row>): Row[] {
  return [...rows.values()].sort((a, b) => a.name < b.name ? -1 : 1)
}
