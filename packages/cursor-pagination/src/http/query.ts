import type { FastifyRequest } from 'fastify'
import { Type, type TSchema } from 'typebox'
import { InvalidSortError } from '../errors.ts'
import type { ResolvedOptions } from '../options.ts'
import { readLimit } from '../page/request.ts'
import { parseSortText } from '../order/sort.ts'
import type { PaginateOptions } from '../page/types.ts'

/** What visitors may ask of a listing. */
export interface PageQueryOptions {
  /** The fields by which visitors may sort. @default none */
  sortable?: readonly string[]
  /** The most rows on a page of this route; a limit above is lowered to it. @default the plugin's maxLimit */
  maxLimit?: number
}

type Rules = PageQueryOptions & Partial<Pick<ResolvedOptions, 'defaultLimit' | 'strictLimit'>>

/** Marks the schema, so that it can be told from others at the time of a request. */
const RULES = Symbol('@jpulse/cursor-pagination rules')

/** The rules of the query objects of requests, for as long as those live. */
const rulesOfQuery = new WeakMap<object, Rules>()

/**
 * Schema of the query of a paged route: `limit`, `cursor`, `offset` and, where fields are listed, `sort`. Other
 * parameters pass, so it can be intersected with more.
 */
export function PageQuery (options: PageQueryOptions = {}) {
  const { sortable = [], maxLimit } = options
  const description = `Rows on the page${maxLimit === undefined ? '' : `, at most ${maxLimit}`}`
  // The mark is kept out of the type: an exported query could not be named otherwise (TS4023).
  const limit: Type.TInteger = Object.assign(Type.Integer({ minimum: 1, description }), { [RULES]: options })
  const sort = Type.String({ description: `Fields by commas, a minus sign before a descending one: ${sortable.join(', ')}` })
  return Type.Object({
    limit: Type.Optional(limit),
    cursor: Type.Optional(Type.String({ description: 'The nextCursor or prevCursor of another page' })),
    offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip, instead of a cursor' })),
    ...(sortable.length === 0 ? {} : { sort: Type.Optional(sort) })
  })
}

/**
 * The options of a page from the query of a request. A sort is taken only where the route's schema is a
 * {@link PageQuery} that lists its fields, or the rules are given here.
 *
 * @param query `request.query` itself: a copy of it is not known to be checked
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_SORT, FST_ERR_CURSOR_PAGINATION_INVALID_LIMIT
 */
export function paginateOptions (query: unknown, rules?: PageQueryOptions): Pick<PaginateOptions, 'limit' | 'cursor' | 'sort' | 'offset'> {
  if (typeof query !== 'object' || query === null) return {}
  const { limit, cursor, sort, offset } = query as Record<string, never>
  const known = rules ?? rulesOfQuery.get(query) ?? {}
  return {
    ...given('limit', limitOf(limit, known)),
    ...given('cursor', cursor),
    ...given('sort', sort === undefined ? undefined : sortOf(sort, known.sortable ?? [])),
    ...given('offset', offset)
  }
}

/** Remembers the rules of the schema that a request's query was checked against. Costs a map look-up per request. */
export function rememberRules (request: FastifyRequest, { defaultLimit, strictLimit }: ResolvedOptions): void {
  const schema = request.routeOptions.schema?.querystring
  if (typeof schema !== 'object' || schema === null || typeof request.query !== 'object' || request.query === null) return
  const rules = rulesOfSchema(schema)
  if (rules !== undefined) rulesOfQuery.set(request.query, { ...rules, defaultLimit, strictLimit })
}

const known = new WeakMap<object, Rules | null>()

function rulesOfSchema (schema: object): Rules | undefined {
  let rules = known.get(schema)
  if (rules === undefined) {
    rules = findRules(schema) ?? null
    known.set(schema, rules)
  }
  return rules ?? undefined
}

function findRules (schema: TSchema & { properties?: { limit?: { [RULES]?: Rules } }, allOf?: TSchema[] }): Rules | undefined {
  const rules = schema.properties?.limit?.[RULES]
  if (rules !== undefined || !Array.isArray(schema.allOf)) return rules
  return schema.allOf.map(findRules).find((found) => found !== undefined)
}

function limitOf (limit: unknown, { maxLimit, defaultLimit = 50, strictLimit = false }: Rules): unknown {
  if (maxLimit === undefined) return limit
  if (limit === undefined) return Math.min(defaultLimit, maxLimit)
  return readLimit(limit, { defaultLimit, maxLimit, strictLimit })
}

function sortOf (text: unknown, sortable: readonly string[]) {
  const pairs = parseSortText(text)
  const refused = pairs.find(([field]) => !sortable.includes(field))
  if (refused !== undefined) throw new InvalidSortError(`sorting by "${refused[0].slice(0, 100)}" is not offered`)
  return pairs
}

function given (name: string, value: unknown): object {
  return value === undefined ? {} : { [name]: value }
}
