import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { watchQueries } from './http/index.ts'
import { resolveOptions, type FastifyCursorPaginationOptions } from './options.ts'
import { makePaginate, type Paginate } from './page/index.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** One page of a MongoDB collection, of a mongoose model, of an aggregation pipeline, or of documents in the process. */
    paginate: Paginate
  }
}

/**
 * Decorates the instance with `paginate`: keyset pagination that visits every document exactly once, forwards and
 * backwards.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_OPTIONS, FST_ERR_CURSOR_PAGINATION_NO_SECRET
 */
async function plugin (fastify: FastifyInstance, options: FastifyCursorPaginationOptions): Promise<void> {
  const resolved = resolveOptions(options)
  const log = fastify.log.child({ plugin: '@jpulse/cursor-pagination' })
  if (resolved.ephemeral) log.warn('no secret is given: cursors are only good in this process and end with it')
  fastify.decorate('paginate', makePaginate(resolved, log))
  watchQueries(fastify, resolved)
}

export const cursorPagination = fp(plugin, { name: '@jpulse/cursor-pagination', fastify: '5.x' })
export default cursorPagination

export { linkHeader, PageOf, PageQuery, paginateOptions, toJpulse, toPage, toRelay } from './http/index.ts'
export type { JpulsePage, PageQueryOptions, PlainPage, RelayConnection, Sortable } from './http/index.ts'
export { suggestIndex, type IndexedOptions, type IntervalRead, type PageDriverOptions, type SuggestedIndex } from './mongo/index.ts'
export type { FastifyCursorPaginationOptions } from './options.ts'
export type { Collation } from './bson/index.ts'
export type { DeclaredField, DeclaredType, Direction, SortSpec } from './order/index.ts'
export type {
  CallOptions, ListSource, MongoCollection, MongooseModel, Page, PageFilter, PageInfo, PageSource, PageStep, Paginate, PaginateOptions, PaginatePipeline, PipelineOptions,
  Projected, TotalMode
} from './page/index.ts'
