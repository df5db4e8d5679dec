import diagnostics from 'node:diagnostics_channel'
import { compareBson, stringOrder } from '../bson/index.ts'
import { bindingOf, CursorCodec, digestOf, outerBound, stubOf, type Binding, type Position } from '../cursor/index.ts'
import { InvalidKeyError } from '../errors.ts'
import type { ResolvedOptions } from '../options.ts'
import { compareKeys, parseSort, refuseTies, reversed, type SortKey } from '../order/index.ts'
import { planProjection, type Query, type Row, type Source } from '../sources/index.ts'
import { pageOf } from './page.ts'
import { readRequest, type PageRequest, type Token } from './request.ts'
import type { Page, PaginateOptions } from './types.ts'

const pages = diagnostics.channel('jpulse:cursor-pagination:page')

/** Rows that are looked through at once for the document of a shortened cursor. */
const SLICE = 1000

interface Total {
  total: number
  totalIsExact: boolean
}

/** Turns the options of a call into a page of whichever source. */
export class Paginator {
  readonly #options: ResolvedOptions
  readonly #codec: CursorCodec

  constructor (options: ResolvedOptions) {
    this.#options = options
    this.#codec = new CursorCodec({ secrets: options.secrets, ttlMs: options.cursorTtlMs, maxLength: options.maxCursorLength })
  }

  /** @param makeSource is called with valid options only; the source is not read before the cursors are verified */
  async page<T extends object> (options: PaginateOptions, makeSource: (query: Query) => Source): Promise<Page<T>> {
    const request = readRequest(options, this.#options)
    const query = queryOf(request)
    const source = makeSource(query)
    const binding = bindingOf({ ...request, source: source.name, stages: source.stages, sort: query.fields })
    const opened = this.#open(request.from, binding)
    const stop = this.#open(request.until, binding)
    const backwards = request.from?.as === 'cursor' ? opened?.backwards ?? false : request.backwards
    const position = await located(opened, source, query, backwards)
    const until = await located(stop, source, query, !backwards)
    const read = source.read({ position, backwards, take: request.limit + 1, skip: request.offset })
    if (request.inSession) await read
    const [found, total] = await Promise.all([read, this.#total(source, request)])
    checkOrder(found, query, position)
    const { rows, more, cut } = trimmed(found, request, query, until, backwards)
    const beyond = cut || (position !== undefined && await hasOtherSide(source, position, backwards, found.length))
    const shown = request.stages === undefined ? rows : await source.enrich(rows, request.stages)
    const { limit, offset } = request
    if (pages.hasSubscribers) pages.publish({ source: source.name, limit, rows: rows.length, backwards, offset })
    const at = position ?? (until === undefined ? undefined : { ...until, inclusive: true })
    const around = neighbours(found, rows, position)
    const page = pageOf<T>(shown, { position: at, backwards, more, beyond, limit, offset, ...around, ...total }, (at, next) => this.#seal(at, next, binding, query))
    if (source.reads !== undefined) page.pageInfo.reads = source.reads
    return page
  }

  #open (token: Token | undefined, binding: Binding): Position | undefined {
    if (token === undefined) return undefined
    const position = this.#codec.open(token.text, binding)
    return token.as === 'cursor' ? position : { ...position, backwards: token.as === 'before', inclusive: false }
  }

  #seal (at: Position, next: SortKey | undefined, binding: Binding, { fields, keyName, collation }: Query): string {
    const isSimple = collation === undefined || collation.locale === 'simple'
    return this.#codec.seal(at, binding, (room) => stubOf(at.key, room, { fields, keyName, isSimple, backwards: at.backwards, next }))
  }

  async #total (source: Source, { total, from, offset, backwards }: PageRequest): Promise<Total | undefined> {
    if (total === 'none' || (total === 'firstPage' && (from !== undefined || backwards || (offset ?? 0) > 0))) return undefined
    if (total === 'exact' || total === 'firstPage' || source.countsExactly) return { total: await source.count(), totalIsExact: true }
    const estimate = total === 'estimated' ? await source.estimate() : undefined
    if (estimate !== undefined) return { total: estimate, totalIsExact: false }
    const { totalCap } = this.#options
    const counted = await source.count(totalCap + 1)
    return counted > totalCap ? { total: totalCap, totalIsExact: false } : { total: counted, totalIsExact: true }
  }
}

function queryOf (request: PageRequest): Query {
  const fields = parseSort(request.sort, request.keyName)
  return {
    ...request,
    fields,
    projection: planProjection(request.projection, request.keyOf === undefined ? fields.map(({ field }) => field) : []),
    strings: stringOrder(request.collation)
  }
}

/** A position with its whole key: a cursor that was too long for it names the document to take it from, or bounds of its place. */
async function located (position: Position | undefined, source: Source, query: Query, backwards: boolean): Promise<Position | undefined> {
  const { stub, key } = position ?? {}
  if (position === undefined || stub === undefined || key === undefined) return position
  const isIt = (row: Row) => digestOf(row.key).equals(stub.digest)
  const [byId] = stub.id === undefined ? [] : (await source.at(stub.id)).filter(isIt)
  const found = byId ?? (stub.id === undefined ? await searched(source, query, { lower: [...key.slice(0, -1), stub.lower], upper: [...key.slice(0, -1), stub.upper] }, isIt) : undefined)
  if (found !== undefined) return { key: found.key, backwards: position.backwards, inclusive: position.inclusive }
  if (stub.exact) return { key, backwards: position.backwards, inclusive: position.inclusive }
  return { key: outerBound(key, stub, query.fields, backwards), backwards: position.backwards, inclusive: true }
}

/** The row between two bounds that is the one; slowly, for keys that are too long for a cursor themselves. */
async function searched (source: Source, { fields, strings }: Query, { lower, upper }: Record<'lower' | 'upper', SortKey>, isIt: (row: Row) => boolean): Promise<Row | undefined> {
  const [begin, end] = fields[lower.length - 1]?.direction === 1 ? [lower, upper] : [upper, lower]
  for (let position: { key: SortKey, inclusive: boolean } = { key: begin, inclusive: true }; ;) {
    const rows = await source.read({ position, backwards: false, take: SLICE })
    const found = rows.find(isIt)
    const last = rows.at(-1)
    if (found !== undefined || last === undefined || rows.length < SLICE || compareKeys(last.key, end, fields, strings) > 0) return found
    position = { key: last.key, inclusive: false }
  }
}

/**
 * Refuses rows of which no order can be told: two with the same values, and one that has the values of the position behind
 * which it was asked for, because reading lost something of them.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_KEY
 */
function checkOrder (rows: readonly Row[], { fields, keyName, strings }: Query, position: Position | undefined): void {
  refuseTies(rows.map(({ key }) => key), fields, keyName, strings)
  const [first] = rows
  if (first === undefined || position === undefined || position.inclusive) return
  if (compareKeys(first.key, position.key, fields, strings) === 0 && first.key.every((value, i) => compareBson(value, position.key[i]) === 0)) {
    throw new InvalidKeyError(keyName, 'leads back to the document of its own cursor: the driver decodes its sort values with a loss (enableUtf8Validation: false does)')
  }
}

interface Trimmed {
  rows: Row[]
  /** There is more in the direction of reading. */
  more: boolean
  /** Rows were left out at the beginning. */
  cut: boolean
}

/** The rows of the page: up to where it stops and to its limit. */
function trimmed (found: Row[], { limit, lastOf }: PageRequest, { fields: forwards, strings }: Query, until: Position | undefined, backwards: boolean): Trimmed {
  const fields = backwards ? reversed(forwards) : forwards
  const end = until === undefined ? -1 : found.findIndex(({ key }) => compareKeys(key, until.key, fields, strings) >= 0)
  const within = end === -1 ? found : found.slice(0, end)
  const rows = within.slice(0, limit)
  const kept = lastOf === undefined ? rows : rows.slice(Math.max(0, rows.length - lastOf))
  return { rows: kept, more: end !== -1 || within.length > limit, cut: kept.length < rows.length }
}

/** The sort keys of the documents before and after the rows of a page, in the order of reading. */
function neighbours (found: readonly Row[], rows: readonly Row[], position: Position | undefined): { before: SortKey | undefined, after: SortKey | undefined } {
  const [first] = rows
  if (first === undefined) return { before: undefined, after: undefined }
  const at = found.indexOf(first)
  const from = position?.inclusive === false ? position.key : undefined
  return { before: found[at - 1]?.key ?? from, after: found[at + rows.length]?.key }
}

/**
 * Whether anything lies on the other side of a position. It was given beside a document that is there, so the answer is
 * yes without a question, except where documents were deleted since: then a query of one row tells.
 */
async function hasOtherSide (source: Source, { key, inclusive }: Position, backwards: boolean, read: number): Promise<boolean> {
  if (read > 0 && !inclusive) return true
  const rows = await source.read({ position: { key, inclusive: !inclusive }, backwards: !backwards, take: 1 })
  return rows.length > 0
}
