import { Type } from 'typebox'
import type { Collation } from '../bson/collation.ts'
import { checkDriverOptions } from '../mongo/driver-options.ts'
import { InvalidCursorError, InvalidLimitError, InvalidOffsetError, InvalidOptionsError } from '../errors.ts'
import { checkOptions, defined, type ResolvedOptions } from '../options.ts'
import type { PaginateOptions, TotalMode } from './types.ts'

/** Numbers, cursors and the sort are read one by one, for they come from visitors and have errors of their own. */
const Options = Type.Object({
  filter: Type.Optional(Type.Object({})),
  sort: Type.Optional(Type.Unknown()),
  limit: Type.Optional(Type.Unknown()),
  cursor: Type.Optional(Type.Unknown()),
  after: Type.Optional(Type.Unknown()),
  before: Type.Optional(Type.Unknown()),
  offset: Type.Optional(Type.Unknown()),
  projection: Type.Optional(Type.Object({})),
  collation: Type.Optional(Type.Object({ locale: Type.String({ minLength: 1 }) })),
  hint: Type.Optional(Type.Unknown()),
  total: Type.Optional(Type.Enum(['none', 'exact', 'estimated', 'capped', 'firstPage'] satisfies TotalMode[])),
  scope: Type.Optional(Type.Unknown()),
  bind: Type.Optional(Type.Unknown()),
  key: Type.Optional(Type.Unknown()),
  explain: Type.Optional(Type.Boolean()),
  driverOptions: Type.Optional(Type.Object({}))
})

/** The options of a call, checked. */
export interface PageRequest {
  filter: Record<string, unknown>
  limit: number
  token: Token | undefined
  offset: number | undefined
  projection: Record<string, unknown> | undefined
  collation: Collation | undefined
  total: TotalMode
  /** The name of the key: a field, or '(key)' for a function. */
  keyName: string
  keyOf: ((item: object) => unknown) | undefined
}

/** A cursor, and by which name it was given. */
export interface Token {
  as: 'cursor' | 'after' | 'before'
  text: unknown
}

/**
 * Reads the options of one call; nothing is asked of the source before they are valid.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_OPTIONS, _INVALID_LIMIT, _INVALID_CURSOR, _INVALID_OFFSET
 */
export function readRequest<T extends object> (options: PaginateOptions<T>, limits: ResolvedOptions): PageRequest {
  if (typeof options !== 'object' || options === null) throw new InvalidOptionsError('they are not an object')
  const given = defined(options)
  checkOptions(Options, given)
  checkDriverOptions(given.driverOptions ?? {})
  const token = readToken(given)
  const offset = readOffset(given.offset, limits.maxOffset)
  if (offset !== undefined && token !== undefined) throw new InvalidOffsetError('it stands beside a cursor')
  const { key = '_id' } = given
  if (typeof key !== 'string' && typeof key !== 'function') throw new InvalidOptionsError('"key" must be a field name or a function')
  return {
    filter: given.filter ?? {},
    limit: readLimit(given.limit, limits),
    token,
    offset,
    projection: given.projection,
    collation: given.collation,
    total: given.total ?? 'none',
    keyName: typeof key === 'string' ? key : '(key)',
    keyOf: typeof key === 'string' ? undefined : key as (item: object) => unknown
  }
}

/**
 * Reads a page size. Digits count as the number that they write, for query strings that no schema converted.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_LIMIT
 */
export function readLimit (value: unknown, { defaultLimit, maxLimit, strictLimit }: Pick<ResolvedOptions, 'defaultLimit' | 'maxLimit' | 'strictLimit'>): number {
  if (value === undefined) return defaultLimit
  const limit = wholeNumber(value)
  if (limit === undefined || limit < 1) throw new InvalidLimitError('it is not a positive integer')
  if (limit > maxLimit && strictLimit) throw new InvalidLimitError(`it is above the maximum of ${maxLimit}`)
  return Math.min(limit, maxLimit)
}

function readOffset (value: unknown, maxOffset: number): number | undefined {
  if (value === undefined) return undefined
  const offset = wholeNumber(value)
  if (offset === undefined || offset < 0) throw new InvalidOffsetError('it is not an integer of 0 or more')
  if (offset > maxOffset) throw new InvalidOffsetError(`it is above the maximum of ${maxOffset}`)
  return offset
}

/** '1e3', '0x10', ' 5', '+5' and '5.0' are not how a client writes an integer. */
function wholeNumber (value: unknown): number | undefined {
  if (typeof value === 'string') return /^\d+$/.test(value) ? Number(value) : undefined
  return Number.isInteger(value) ? value as number : undefined
}

function readToken ({ cursor, after, before }: Pick<PaginateOptions, Token['as']>): Token | undefined {
  const given = Object.entries({ cursor, after, before }).filter(([, text]) => text !== undefined && text !== null)
  const [first, second] = given
  if (first === undefined) return undefined
  if (second !== undefined) throw new InvalidCursorError(`${first[0]} and ${second[0]} exclude each other`)
  return { as: first[0] as Token['as'], text: first[1] }
}
