import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { ArraySource, isItems } from './sources/array.ts'
import { CollectionSource, isCollection } from './sources/collection.ts'
import { InvalidOptionsError } from './errors.ts'
import { rememberRules } from './http/query.ts'
import { resolveOptions, type FastifyCursorPaginationOptions } from './options.ts'
import { Paginator } from './page/paginator.ts'
import { PipelineSource } from './sources/pipeline.ts'
import { PlanObserver } from './mongo/plan-observer.ts'
import type { Paginate, PaginateOptions, PipelineOptions } from './page/types.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** One page of a MongoDB collection, of an aggregation pipeline, or of documents in the process. */
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
  const paginator = new Paginator(resolved)
  const observer = new PlanObserver(log)

  const driver = <T extends object>({ hint, driverOptions, explain = resolved.explain }: Pick<PaginateOptions<T>, 'hint' | 'driverOptions' | 'explain'>) =>
    ({ hint, driverOptions, observer: explain ? observer : undefined })

  async function paginate<T extends object> (source: unknown, options: PaginateOptions<T> = {}) {
    if (isCollection(source)) return paginator.page<T>(options, (query) => new CollectionSource(source, query, driver(options)))
    if (isItems(source)) return paginator.page<T>(options, (query) => new ArraySource(source, query))
    throw new InvalidOptionsError('the source is neither a collection of the MongoDB driver nor iterable')
  }

  async function pipeline<T extends object> (collection: unknown, stages: readonly object[], options: PipelineOptions<T> = {}) {
    if (!isCollection(collection)) throw new InvalidOptionsError('a pipeline needs a collection of the MongoDB driver')
    return paginator.page<T>(options as PaginateOptions<T>, (query) => new PipelineSource(collection, stages, query, driver(options)))
  }

  fastify.decorate('paginate', Object.assign(paginate, { pipeline }) as Paginate)
  fastify.addHook('preHandler', (request, _reply, done) => {
    rememberRules(request, resolved)
    done()
  })
}

export const cursorPagination = fp(plugin, { name: '@jpulse/cursor-pagination', fastify: '5.x' })
export default cursorPagination

export { PageQuery, paginateOptions, type PageQueryOptions } from './http/query.ts'
export { PageOf, toJpulse, type JpulsePage } from './http/response.ts'
export { linkHeader } from './http/link-header.ts'
export { toRelay, type RelayConnection } from './http/relay.ts'
export { suggestIndex, type IndexedOptions, type SuggestedIndex } from './mongo/suggest-index.ts'
export type { FastifyCursorPaginationOptions } from './options.ts'
export type { Collation } from './bson/collation.ts'
export type { PageDriverOptions } from './mongo/driver-options.ts'
export type { DeclaredField, DeclaredType, Direction, SortSpec } from './order/sort.ts'
export type { ListSource, Page, PageInfo, Paginate, PaginateOptions, PipelineCollection, PipelineOptions, TotalMode } from './page/types.ts'
