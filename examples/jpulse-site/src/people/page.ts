import { type Page, PageQuery, paginateOptions } from '@jpulse/cursor-pagination'
import type { FastifyInstance } from 'fastify'
import type { TSchema } from 'typebox'
import type { Person } from './people.ts'

const SORTABLE = ['name', 'city', 'joinedAt', 'spent', '_id']

export const PeopleQuery: TSchema = PageQuery({ sortable: SORTABLE, maxLimit: 200 })

/** A page of the listing, as the query of a request wants it. */
export function pageOfPeople (app: FastifyInstance, query: unknown): Promise<Page<Person>> {
  const { directory } = app.documents
  const options = { sort: { _id: 1 as const }, limit: 50, ...paginateOptions(query as Record<string, unknown>, { sortable: SORTABLE, maxLimit: 200 }) }
  return directory.use(() => app.paginate(directory.source, options))
}
