import diagnostics from 'node:diagnostics_channel'
import { bindingOf } from '../cursor/binding.ts'
import { stringOrder } from '../bson/collation.ts'
import { CursorCodec, type Position } from '../cursor/codec.ts'
import type { ResolvedOptions } from '../options.ts'
import { pageOf } from './page.ts'
import { readRequest, type PageRequest, type Token } from './request.ts'
import { planProjection } from '../sources/projection.ts'
import { parseSort } from '../order/sort.ts'
import { refuseTies } from '../order/sort-key.ts'
import type { Query, Source } from '../sources/source.ts'
import type { Page, PaginateOptions } from './types.ts'

const pages = diagnostics.channel('jpulse:cursor-pagination:page')

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

  /** @param makeSource is called with valid options only; the source is not read before the cursor is verified */
  async page<T extends object> (options: PaginateOptions<T>, makeSource: (query: Query) => Source): Promise<Page<T>> {
    const request = readRequest(options, this.#options)
    const query = queryOf(request, options)
    const source = makeSource(query)
    const binding = bindingOf({ ...request, source: source.name, stages: source.stages, sort: query.fields, scope: options.scope, bind: options.bind })
    const position = request.token === undefined ? undefined : this.#open(request.token, binding)
    const backwards = position?.backwards ?? false
    const read = source.read({ position, backwards, take: request.limit + 1, skip: request.offset })
    // The driver allows no parallel operations in a transaction.
    if (options.driverOptions?.session !== undefined) await read
    const [rows, total] = await Promise.all([read, this.#total(source, request)])
    refuseTies(rows.map(({ key }) => key), query.fields, request.keyName, query.strings)
    const beyond = position !== undefined && await hasOtherSide(source, position, rows.length)
    if (pages.hasSubscribers) pages.publish({ source: source.name, limit: request.limit, rows: Math.min(rows.length, request.limit), backwards, offset: request.offset })
    return pageOf<T>(rows, { position, beyond, limit: request.limit, offset: request.offset, ...total }, (at) => this.#codec.seal(at, binding))
  }

  #open ({ as, text }: Token, binding: Buffer): Position {
    const position = this.#codec.open(text, binding)
    return as === 'cursor' ? position : { key: position.key, backwards: as === 'before', inclusive: false }
  }

  async #total (source: Source, { total, token, offset }: PageRequest): Promise<Total | undefined> {
    if (total === 'none' || (total === 'firstPage' && (token !== undefined || (offset ?? 0) > 0))) return undefined
    if (total === 'exact' || total === 'firstPage' || source.countsExactly) return { total: await source.count(), totalIsExact: true }
    const estimate = total === 'estimated' ? await source.estimate() : undefined
    if (estimate !== undefined) return { total: estimate, totalIsExact: false }
    const { totalCap } = this.#options
    const counted = await source.count(totalCap + 1)
    return counted > totalCap ? { total: totalCap, totalIsExact: false } : { total: counted, totalIsExact: true }
  }
}

function queryOf<T extends object> (request: PageRequest, options: PaginateOptions<T>): Query {
  const fields = parseSort(options.sort, request.keyName)
  return {
    filter: request.filter,
    fields,
    projection: planProjection(request.projection, request.keyOf === undefined ? fields.map(({ field }) => field) : []),
    collation: request.collation,
    strings: stringOrder(request.collation),
    keyName: request.keyName,
    keyOf: request.keyOf
  }
}

/**
 * Whether anything lies on the other side of a position. It was given beside a document that is there, so the answer is
 * yes without a question, except where documents were deleted since: then a query of one row tells.
 */
async function hasOtherSide (source: Source, { key, backwards, inclusive }: Position, read: number): Promise<boolean> {
  if (read > 0 && !inclusive) return true
  const rows = await source.read({ position: { key, inclusive: !inclusive }, backwards: !backwards, take: 1 })
  return rows.length > 0
}
