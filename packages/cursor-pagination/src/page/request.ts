import { callback, checker, opaque } from '@jpulse/plugin-kit'
import { Type } from 'typebox'
import type { Collation } from '../bson/index.ts'
import { InvalidCursorError, InvalidLimitError, InvalidOffsetError, InvalidOptionsError } from '../errors.ts'
import { checkDriverOptions, type PageDriverOptions } from '../mongo/index.ts'
import type { ResolvedOptions } from '../options.ts'
import type { SortSpec } from '../order/index.ts'
import type { PaginateOptions, TotalMode } from './types.ts'

const Anything = Type.Optional(Type.Unknown())
const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)
const AnObject = (wanted: string) => Type.Optional(opaque<object>(wanted, isObject))

/** Numbers, cursors and the sort are read one by one, for they come from visitors and have errors of their own. */
const Options = Type.Object({
  filter: AnObject('a MongoDB filter'),
  sort: Anything,
  limit: Anything,
  cursor: Anything,
  after: Anything,
  before: Anything,
  first: Anything,
  last: Anything,
  offset: Anything,
  projection: AnObject('a MongoDB projection'),
  collation: Type.Optional(opaque<Collation>('a collation with its locale', (value) => isObject(value) && typeof (value as Collation).locale === 'string' && (value as Collation).locale !== '')),
  hint: Anything,
  total: Type.Optional(Type.Enum(['none', 'exact', 'estimated', 'capped', 'firstPage'] satisfies TotalMode[])),
  scope: Anything,
  bind: Anything,
  key: Type.Optional(Type.Union([Type.String({ wanted: 'a field name' }), callback<(item: object) => unknown>()])),
  page: Type.Optional(opaque<PageStep>('a list of stages or a function of the rows', (value) => typeof value === 'function' || (Array.isArray(value) && value.every(isObject)))),
  signal: Type.Optional(opaque<AbortSignal>('an AbortSignal', (value) => value instanceof AbortSignal)),
  explain: Type.Optional(Type.Boolean()),
  driverOptions: Type.Optional(opaque<PageDriverOptions>('an object', isObject))
}, { additionalProperties: false })

const check = checker(Options, (option, problem) => new InvalidOptionsError(`"${option}" ${problem}`))

/** Names of the options of a call on any source; a model's `lean` and `populate` too. */
export const OPTION_NAMES: readonly string[] = [...Object.keys(Options.properties), 'lean', 'populate']

type PageStep = readonly object[] | ((rows: object[]) => unknown)

/** The options of a call, checked. */
export interface PageRequest {
  filter: Record<string, unknown>
  sort: SortSpec | undefined
  limit: number
  /** Where to begin, and which way to read from there. */
  from: Token | undefined
  /** Where to stop, in the direction of reading. */
  until: Token | undefined
  backwards: boolean
  /** Of the rows that `limit` gives, so many at the end. */
  lastOf: number | undefined
  offset: number | undefined
  projection: Record<string, unknown> | undefined
  collation: Collation | undefined
  total: TotalMode
  scope: unknown
  bind: unknown
  /** The name of the key: a field, or '(key)' for a function. */
  keyName: string
  keyOf: ((item: object) => unknown) | undefined
  /** Stages for the rows of the page. */
  stages: readonly object[] | undefined
  signal: AbortSignal | undefined
  /** The driver allows no parallel operations in a transaction. */
  inSession: boolean
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
export function readRequest (options: PaginateOptions, limits: ResolvedOptions): PageRequest {
  if (!isObject(options)) throw new InvalidOptionsError('they are not an object')
  const given = check(options)
  const { key = '_id', page, projection, driverOptions = {} } = given
  checkDriverOptions(driverOptions)
  if (page !== undefined && projection !== undefined && typeof page !== 'function') throw new InvalidOptionsError('"projection" stands beside "page": let the last stage project')
  const place = readPlace(given, limits)
  const offset = readOffset(given.offset, limits.maxOffset)
  if (offset !== undefined && (place.from ?? place.until) !== undefined) throw new InvalidOffsetError('it stands beside a cursor')
  if (offset !== undefined && place.backwards) throw new InvalidOffsetError('it stands beside "last"')
  return {
    ...place,
    filter: (given.filter ?? {}) as Record<string, unknown>,
    sort: given.sort as SortSpec | undefined,
    offset,
    projection: projection as Record<string, unknown> | undefined,
    collation: given.collation,
    total: given.total ?? 'none',
    scope: given.scope,
    bind: given.bind,
    keyName: typeof key === 'string' ? key : '(key)',
    keyOf: typeof key === 'string' ? undefined : key,
    stages: typeof page === 'function' ? undefined : page,
    signal: given.signal ?? driverOptions.signal,
    inSession: driverOptions.session !== undefined
  }
}

type Place = Pick<PageRequest, 'limit' | 'from' | 'until' | 'backwards' | 'lastOf'>

/** Where a page begins and ends: by one cursor that knows its direction, or by Relay's arguments. */
function readPlace (given: Partial<Record<'cursor' | 'after' | 'before' | 'first' | 'last' | 'limit', unknown>>, limits: ResolvedOptions): Place {
  const [cursor, after, before] = (['cursor', 'after', 'before'] as const).map((as) => tokenOf(as, given[as]))
  const [first, last] = [given.first ?? undefined, given.last ?? undefined]
  const other = after ?? before
  if (cursor !== undefined && other !== undefined) throw new InvalidCursorError(`cursor and ${other.as} exclude each other`)
  if (given.limit !== undefined && (first ?? last) !== undefined) throw new InvalidLimitError('"limit" stands beside "first" or "last"')
  const limit = readLimit(first ?? last ?? given.limit, limits, (first ?? last) === undefined ? 1 : 0)
  if (cursor !== undefined) {
    if (last !== undefined) throw new InvalidLimitError('"last" stands beside "cursor", which knows its direction')
    return { limit, from: cursor, until: undefined, backwards: false, lastOf: undefined }
  }
  const backwards = first === undefined && (last !== undefined || (before !== undefined && after === undefined))
  const lastOf = first !== undefined && last !== undefined ? readLimit(last, limits, 0) : undefined
  return backwards ? { limit, from: before, until: after, backwards, lastOf } : { limit, from: after, until: before, backwards, lastOf }
}

/** Generated clients and forms send an empty text for none. */
function tokenOf (as: Token['as'], text: unknown): Token | undefined {
  return text === undefined || text === null || text === '' ? undefined : { as, text }
}

/**
 * Reads a page size. Digits count as the number that they write, for query strings that no schema converted.
 *
 * @param least 0 for Relay's `first` and `last`, which may ask for no rows
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_LIMIT
 */
export function readLimit (value: unknown, { defaultLimit, maxLimit, strictLimit }: Pick<ResolvedOptions, 'defaultLimit' | 'maxLimit' | 'strictLimit'>, least: 0 | 1 = 1): number {
  if (value === undefined) return defaultLimit
  const limit = wholeNumber(value)
  if (limit === undefined || limit < least) throw new InvalidLimitError(`it is not ${least === 1 ? 'a positive integer' : 'an integer of 0 or more'}`)
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
