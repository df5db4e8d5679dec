import { types } from 'node:util'
import { isPlain } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import { InvalidOptionsError } from '../errors.ts'
import { defaultsOf, discriminatorOf, driverCollection, isDriverCollection, isModel, isMongooseCollection, pageOfModel, PlanObserver, refuseReferred, type DriverCollection, type Model, type ModelDefaults } from '../mongo/index.ts'
import type { ResolvedOptions } from '../options.ts'
import { ArraySource, CollectionSource, isItems, PipelineSource } from '../sources/index.ts'
import { withItems } from './page.ts'
import { Paginator } from './paginator.ts'
import { OPTION_NAMES } from './request.ts'
import type { Page, Paginate, PaginateOptions } from './types.ts'

type Options = PaginateOptions
type Rows = (options: Options) => Promise<Page<object>>

/** Makes `fastify.paginate`: finds out what the source is, and does what is not the same for all of them. */
export function makePaginate (resolved: ResolvedOptions, log: FastifyBaseLogger): Paginate {
  const paginator = new Paginator(resolved)
  const observer = new PlanObserver(log)
  const driver = ({ hint, driverOptions, explain = resolved.explain }: Options) => ({ hint, driverOptions, observer: explain ? observer : undefined })

  const ofCollection = (collection: DriverCollection, options: Options) =>
    paginator.page<object>(options, (query) => new CollectionSource(collection, query, driver(options)))

  async function ofModel (model: Model, { lean, populate, ...options }: Options): Promise<Page<object>> {
    refuseReferred(model, options.sort)
    const collection = await collectionOf(model.collection)
    let page: Page<object> | undefined
    const rows = await pageOfModel(model, { ...options, lean, populate }, async ({ filter, projection, defaults }) => {
      page = await ofCollection(collection, { ...withDefaults(options, defaults), filter, ...shown(options, projection as Record<string, unknown> | undefined) })
      return page.items
    })
    return withItems(checkCount(page as unknown as Page<object>, rows, `the hooks of the model "${model.modelName}"`), rows)
  }

  async function paginate (source: unknown, given: Options = {}): Promise<Page<object>> {
    const options = ownOptions(given)
    if (isModel(source)) return paged(options, (options) => ofModel(source, options))
    refuseMongooseOptions(options)
    if (isMongooseCollection(source) || isDriverCollection(source)) {
      const collection = await collectionOf(source)
      return paged(options, (options) => ofCollection(collection, options))
    }
    if (isItems(source)) return paged(options, (options) => paginator.page(options, (query) => new ArraySource(source, query)))
    throw new InvalidOptionsError('the source is neither a collection of MongoDB or mongoose, nor a model of mongoose, nor iterable')
  }

  async function pipeline (source: unknown, stages: readonly object[], given: Options = {}): Promise<Page<object>> {
    const options = ownOptions(given)
    refuseMongooseOptions(options)
    const collection = await collectionOf(isModel(source) ? source.collection : source)
    return paged(isModel(source) ? ofModelIn(source, options) : options, (options) => paginator.page(options, (query) => {
      const made = new PipelineSource(collection, stages, query, driver(options))
      driver(options).observer?.warnOfBlocking(made.name, made.blocking)
      return made
    }))
  }

  const pages = (source: unknown, options?: Options) => walk(options, (options) => paginate(source, options))
  const pipelinePages = (source: unknown, stages: readonly object[], options?: Options) => walk(options, (options) => pipeline(source, stages, options))
  return Object.assign(paginate, { pages, pipeline: Object.assign(pipeline, { pages: pipelinePages }) }) as unknown as Paginate
}

/** The options of a pipeline that begins with the documents of a model. */
function ofModelIn (model: Model, options: Options): Options {
  return withDefaults({ ...options, filter: { ...options.filter, ...discriminatorOf(model) } }, defaultsOf(model))
}

function withDefaults (options: Options, { collation, hint, driverOptions }: ModelDefaults): Options {
  return { ...options, collation: options.collation ?? collation, hint: options.hint ?? hint, driverOptions: { ...driverOptions, ...options.driverOptions } }
}

/** What a model selects of its documents: also what the stages of a page begin with, which read them anew. */
function shown ({ page, projection }: Options, selected: Record<string, unknown> | undefined): Options {
  if (selected === undefined) return {}
  return Array.isArray(page) && projection === undefined ? { page: [{ $project: selected }, ...page as object[]] } : { projection: selected }
}

async function collectionOf (source: unknown): Promise<DriverCollection> {
  if (!isMongooseCollection(source) && !isDriverCollection(source)) throw new InvalidOptionsError('a pipeline needs a collection of MongoDB or mongoose, or a model of mongoose')
  const collection = await driverCollection(source)
  if (!isDriverCollection(collection)) throw new InvalidOptionsError('mongoose is not connected')
  return collection
}

/** Options as an object of their own: those that a class gives, or that are inherited, would be lost where they are copied. */
function ownOptions (options: unknown): Options {
  if (typeof options !== 'object' || options === null || types.isMap(options)) throw new InvalidOptionsError('they are not an object')
  const given = isPlain(options) ? options as Options : Object.fromEntries(OPTION_NAMES.filter((name) => name in options).concat(Object.keys(options)).map((name) => [name, (options as Record<string, unknown>)[name]])) as Options
  for (const name of ['filter', 'projection', 'driverOptions', 'sort'] as const) checkIsOwn(name, given[name])
  return given
}

/** A Map has no properties, and what is inherited is not sent: it would be lost on the way, and a filter that is lost shows everything. */
function checkIsOwn (name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || isPlain(value) || (name === 'sort' && types.isMap(value))) return
  let count = 0
  for (const field in value) count += Object.hasOwn(value, field) ? 1 : -Infinity
  if (!(count > 0)) throw new InvalidOptionsError(`"${name}" ${types.isMap(value) ? 'is a Map' : 'has fields that are not its own, or none'}: give an object`)
}

function refuseMongooseOptions (options: Options): void {
  const name = (['lean', 'populate'] as const).find((name) => options[name] !== undefined)
  if (name !== undefined) throw new InvalidOptionsError(`"${name}" is for a model of mongoose, and the source is none`)
}

/** A page whose rows a function of the caller makes into its items. */
async function paged (options: Options, read: Rows): Promise<Page<object>> {
  const page: unknown = options.page
  if (typeof page !== 'function') return read(options)
  const { page: _, ...rest } = options
  const rows = await read(rest)
  const items: unknown = await page(rows.items)
  if (!Array.isArray(items)) throw new InvalidOptionsError('"page" must give a list of items')
  return withItems(checkCount(rows, items, 'the function "page"'), items)
}

/** Each row has one item, or no cursor would be one's own. */
function checkCount<T> (page: Page<T>, items: readonly unknown[], who: string): Page<T> {
  if (page !== undefined && items.length === page.items.length) return page
  throw new InvalidOptionsError(`${who} made ${items.length} items of ${page?.items.length ?? 0} rows`)
}

/** Page after page, each read when it is asked for. */
async function * walk (options: Options = {}, read: Rows): AsyncGenerator<Page<object>> {
  const { cursor, after, before, first, last, limit = first ?? last ?? undefined, offset, ...rest } = ownOptions(options)
  const backwards = !cursor && (first ?? undefined) === undefined && ((last ?? undefined) !== undefined || (Boolean(before) && !after))
  const stop = cursor ? undefined : backwards ? after : before
  let page = await read(options)
  for (;;) {
    yield page
    const { nextCursor, prevCursor, startCursor, endCursor } = page.pageInfo
    if ((backwards ? prevCursor : nextCursor) === null || page.items.length === 0) return
    const size = limit === undefined ? {} : { limit }
    if (stop) page = await read({ ...rest, ...(backwards ? { last: limit ?? page.pageInfo.limit, before: startCursor, after: stop } : { ...size, after: endCursor, before: stop }) })
    else page = await read({ ...rest, ...size, cursor: backwards ? prevCursor : nextCursor })
    if (page.items.length === 0) return
  }
}
