import { createHash } from 'node:crypto'
import { checker, isPlain, opaque } from '@jpulse/plugin-kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type, type TSchema } from 'typebox'
import { InvalidOffsetError, InvalidOptionsError, InvalidSortError } from '../errors.ts'
import type { ResolvedOptions } from '../options.ts'
import { parseSort, parseSortText, type DeclaredField, type DeclaredType, type Direction, type SortSpec } from '../order/index.ts'
import { readLimit, type PaginateOptions } from '../page/index.ts'

/**
 * The fields by which visitors may sort: their names, or public names with what they stand for. That is a field, a field
 * with its declared type, or a fixed order, of which visitors cannot ask for the reverse.
 */
export type Sortable = readonly string[] | Readonly<Record<string, string | { field: string, type?: DeclaredType } | SortSpec>>

/** What visitors may ask of a listing. */
export interface PageQueryOptions {
  /** The fields by which visitors may sort, or public names for fields and orders. @default none */
  sortable?: Sortable
  /** The most fields of one sort. @default as many as are sortable */
  maxSortFields?: number
  /** The most rows on a page of this route; a limit above is lowered to it. @default the plugin's maxLimit */
  maxLimit?: number
  /** Whether visitors may skip rows, instead of a cursor. @default true */
  offset?: boolean
}

type Rules = PageQueryOptions & Partial<Pick<ResolvedOptions, 'defaultLimit' | 'strictLimit'>>

/** A limit under another name, or in a Map, would be none. */
const check = checker(Type.Object({
  sortable: Type.Optional(opaque<Sortable>('a list of fields, or an object of public names', (value) => Array.isArray(value) ? value.every((name) => typeof name === 'string') : typeof value === 'object' && value !== null && isPlain(value))),
  maxSortFields: Type.Optional(Type.Integer({ minimum: 1 })),
  maxLimit: Type.Optional(Type.Integer({ minimum: 1 })),
  offset: Type.Optional(Type.Boolean())
}, { additionalProperties: false }), (option, problem) => new InvalidOptionsError(`"${option}" of a PageQuery ${problem}`))

/**
 * The rules of the query schemas by what stands in their `$comment`: a mark that survives where schemas are copied,
 * referred to and compiled. They are few, for they stand in the source of applications.
 */
const rulesOfMark = new Map<string, PageQueryOptions>()

/** The rules of a query under a symbol, which a copy by spreading keeps. */
const RULES = Symbol('@jpulse/cursor-pagination rules')

/**
 * Schema of the query of a paged route: `limit`, `cursor`, `offset` and, where fields are listed, `sort`. Other
 * parameters pass, so it can be intersected with more.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_SORT for a fixed order that is none, _INVALID_OPTIONS
 */
export function PageQuery (rules: PageQueryOptions = {}) {
  const options = check(rules) as PageQueryOptions
  const names = namesOf(options.sortable)
  for (const name of names) orderOf(options.sortable, name)
  const $comment = markOf(options)
  const atMost = options.maxLimit === undefined ? '' : `, at most ${options.maxLimit}`
  return Type.Object({
    limit: Type.Optional(Type.Integer({ minimum: 1, description: `Rows on the page${atMost}`, $comment })),
    cursor: Type.Optional(Type.String({ description: 'The nextCursor or prevCursor of another page', $comment })),
    ...optional(options.offset !== false, { offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip, instead of a cursor' })) }),
    ...optional(names.length > 0, { sort: Type.Optional(Type.String({ description: `Fields by commas, a minus sign before a descending one: ${names.join(', ')}` })) })
  })
}

/** Typed as if it were there: an optional property that is absent reads as undefined. */
function optional<T extends object> (isThere: boolean, properties: T): T {
  return isThere ? properties : {} as T
}

function markOf (options: PageQueryOptions): string {
  const mark = `@jpulse/cursor-pagination ${createHash('sha256').update(JSON.stringify(options)).digest('base64url').slice(0, 16)}`
  rulesOfMark.set(mark, options)
  return mark
}

/**
 * The options of a page from the query of a request. A sort is taken only where the route's schema is a
 * {@link PageQuery} that lists its fields, or the rules are given here. Empty values count as none.
 *
 * @param query `request.query`, or a copy made by spreading it: of any other object it is not known which limit holds, so
 * the rules must be given
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_SORT, _INVALID_LIMIT, _INVALID_OFFSET; _INVALID_OPTIONS for a query that no rules are known of, and for rules that are none
 */
export function paginateOptions (query: unknown, rules?: PageQueryOptions): Pick<PaginateOptions, 'limit' | 'cursor' | 'offset'> & { sort?: Array<readonly [field: string, order: Direction | DeclaredField]> } {
  if (typeof query !== 'object' || query === null) return {}
  const { limit, cursor, sort, offset } = query as Record<string, unknown>
  const known = rules === undefined ? (query as { [RULES]?: Rules })[RULES] : check(rules) as Rules
  if (known === undefined) throw new InvalidOptionsError('paginateOptions was given a query that it does not know, so no limit holds for it: give it request.query after its validation, or the rules as its second argument')
  if (!isUnset(offset) && known.offset === false) throw new InvalidOffsetError('it is not offered here')
  return {
    ...given('limit', limitOf(unset(limit), known)),
    ...given('cursor', unset(cursor)),
    ...given('sort', isUnset(sort) ? undefined : sortOf(sort, known)),
    ...given('offset', unset(offset))
  }
}

/**
 * Has the query of each request carry the rules of its route: from the first hook on, and again after the validation, which
 * may have made a new object of it. Costs a map look-up per request.
 */
export function watchQueries (fastify: FastifyInstance, { defaultLimit, strictLimit }: ResolvedOptions): void {
  const known = new WeakMap<object, Rules>()
  const rulesOf = (request: FastifyRequest): Rules => {
    const schema = request.routeOptions.schema?.querystring
    if (typeof schema !== 'object' || schema === null) return NONE
    let rules = known.get(schema)
    if (rules === undefined) {
      const found = findRules(schema, (id) => request.server.getSchema(id) as TSchema | undefined)
      known.set(schema, rules = found === undefined ? NONE : { ...found, defaultLimit, strictLimit })
    }
    return rules
  }
  const mark = (request: FastifyRequest) => {
    // A parser of the application may give a frozen object: then the rules must be given, as for any that is not known.
    if (typeof request.query !== 'object' || request.query === null || !Object.isExtensible(request.query)) return
    const query = request.query as Record<string, unknown> & { [RULES]?: Rules }
    query[RULES] = rulesOf(request)
    // Forms send what was left empty; no schema of a number takes that.
    if (query[RULES] !== NONE) for (const name of NAMES) if (query[name] === '') delete query[name]
  }
  fastify.addHook('onRequest', async (request) => mark(request))
  fastify.addHook('preHandler', async (request) => mark(request))
}

/** Of a route without a PageQuery: the plugin's limits hold, and there is no sort. */
const NONE: Rules = {}
const NAMES = ['limit', 'cursor', 'offset', 'sort']
const DEEPEST = 8

interface Shape {
  $comment?: string
  $ref?: string
  properties?: Record<string, Shape>
  allOf?: Shape[]
  anyOf?: Shape[]
  oneOf?: Shape[]
}

function findRules (schema: Shape, schemaOf: (id: string) => Shape | undefined, depth = 0): PageQueryOptions | undefined {
  const { $comment, $ref, properties = {}, allOf = [], anyOf = [], oneOf = [] } = schema
  const rules = rulesOfMark.get($comment ?? '')
  if (rules !== undefined || depth > DEEPEST) return rules
  const referred = $ref === undefined ? undefined : schemaOf($ref) ?? schemaOf($ref.split('#')[0] ?? '')
  const inner = [referred, properties['limit'], properties['cursor'], ...allOf, ...anyOf, ...oneOf]
  for (const one of inner) {
    const found = one === undefined ? undefined : findRules(one, schemaOf, depth + 1)
    if (found !== undefined) return found
  }
  return undefined
}

function limitOf (limit: unknown, { maxLimit, defaultLimit = 50, strictLimit = false }: Rules): unknown {
  if (maxLimit === undefined) return limit
  if (limit === undefined) return Math.min(defaultLimit, maxLimit)
  return readLimit(limit, { defaultLimit, maxLimit, strictLimit })
}

function namesOf (sortable: Sortable = []): string[] {
  return isList(sortable) ? [...sortable] : Object.keys(sortable)
}

const isList = (sortable: Sortable): sortable is readonly string[] => Array.isArray(sortable)

/** What a public name stands for: a field in the direction that the visitor says, or a fixed order. */
function orderOf (sortable: Sortable = [], name: string): { field: string, type?: DeclaredType } | { fixed: Array<readonly [string, Direction | DeclaredField]> } | undefined {
  if (!namesOf(sortable).includes(name)) return undefined
  const order = isList(sortable) ? name : sortable[name]
  if (typeof order === 'string') return { field: order }
  if (typeof (order as { field?: unknown }).field === 'string') return order as { field: string }
  const fixed = parseSort(order as SortSpec, (isPairs(order) ? order[0]?.[0] : Object.keys(order as object)[0]) ?? '')
  return { fixed: fixed.map(({ field, direction, type }) => [field, type === undefined ? direction : { order: direction, type }]) }
}

const isPairs = (order: unknown): order is Array<[string]> => Array.isArray(order)

function sortOf (text: unknown, { sortable, maxSortFields = Infinity }: Rules): Array<readonly [string, Direction | DeclaredField]> {
  const parts = parseSortText(text)
  if (parts.length > maxSortFields) throw new InvalidSortError(`more than ${maxSortFields} fields`)
  return parts.flatMap(([name, direction]) => {
    const order = orderOf(sortable, name)
    if (order === undefined) throw new InvalidSortError(`sorting by "${name.slice(0, 100)}" is not offered`)
    if (!('fixed' in order)) return [[order.field, order.type === undefined ? direction : { order: direction, type: order.type }] as const]
    if (direction === -1) throw new InvalidSortError(`the order "${name}" has no reverse`)
    return order.fixed
  })
}

const isUnset = (value: unknown) => value === undefined || value === ''
const unset = (value: unknown) => isUnset(value) ? undefined : value

function given (name: string, value: unknown): object {
  return value === undefined ? {} : { [name]: value }
}
