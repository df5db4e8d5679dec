import type { Collation } from '../bson/index.ts'
import { InvalidOptionsError, InvalidSortError } from '../errors.ts'
import { parseSort, type SortSpec } from '../order/index.ts'
import type { PageDriverOptions } from './options.ts'

/** What is asked of a model of mongoose, versions 8 and 9. */
export interface Model {
  readonly modelName: string
  readonly collection: unknown
  readonly schema: {
    discriminatorMapping?: { isRoot?: boolean, key?: string, value?: unknown }
    options?: { collation?: Collation, read?: unknown }
    path? (name: string): Path | undefined
    virtualpath? (name: string): Path | null | undefined
  }
  readonly db?: { base?: { transactionAsyncLocalStorage?: { getStore (): { session?: object } | undefined } } }
  hydrate (document: object): unknown
  find (filter: object): ModelQuery
}

/** A path of a schema, stored or virtual. */
interface Path {
  options?: { ref?: unknown, refPath?: unknown }
}

interface ModelQuery {
  mongooseCollection: object
  setOptions (options: object): unknown
  select (projection: object): unknown
  lean (options?: unknown): unknown
  populate (paths: unknown): unknown
  exec (): Promise<object[]>
}

/** What a call may say of mongoose's part. */
export interface ModelOptions {
  filter?: object | undefined
  projection?: object | undefined
  lean?: boolean | object | undefined
  populate?: unknown
  driverOptions?: PageDriverOptions | undefined
}

export function isModel (value: unknown): value is Model {
  const { modelName, hydrate, find } = (value ?? {}) as Partial<Model>
  return typeof value === 'function' && typeof modelName === 'string' && typeof hydrate === 'function' && typeof find === 'function'
}

/** The condition by which a model of a discriminator tells its own documents. */
export function discriminatorOf ({ schema }: Model): Record<string, unknown> {
  const { isRoot = true, key, value } = schema.discriminatorMapping ?? {}
  return isRoot || key === undefined ? {} : { [key]: value }
}

/** Options of a call that a model has defaults for. */
export interface ModelDefaults {
  collation?: Collation | undefined
  hint?: string | object | undefined
  driverOptions: PageDriverOptions
}

/** What mongoose adds to an aggregation: the defaults of the schema, and the session of the transaction that the call is made in. */
export function defaultsOf ({ schema: { options: { collation, read } = {} }, db }: Model): ModelDefaults {
  const session = db?.base?.transactionAsyncLocalStorage?.getStore()?.session
  return { collation, driverOptions: { ...(session == null ? {} : { session }), ...(read == null ? {} : { readPreference: read }) } }
}

/**
 * Refuses a sort by a field of a document that is referred to: the model's documents hold its key there, so all of them
 * would be one tie, populated or not. Of a virtual path that is populated they hold nothing at all.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_SORT
 */
export function refuseReferred ({ schema, modelName }: Model, sort: SortSpec | undefined): void {
  const refers = (path: string) => [schema.path?.(path), schema.virtualpath?.(path)].some((one) => (one?.options?.ref ?? one?.options?.refPath) !== undefined)
  for (const { field } of parseSort(sort)) {
    const names = field.split('.').slice(0, -1)
    const path = names.map((_, i) => names.slice(0, i + 1).join('.')).find(refers)
    if (path !== undefined) throw new InvalidSortError(`"${path}" of the model "${modelName}" refers to other documents, and "${field}" is a field of theirs`)
  }
}

/** What mongoose made of the call, and asks its collection for. */
export interface Found {
  filter: object
  projection: object | undefined
  defaults: ModelDefaults
}

/** Options of a find that the schema, its hooks and the transaction decide. Their sort, skip and limit have no say: a page has its own. */
const TAKEN = new Set(['session', 'readPreference', 'readConcern', 'maxTimeMS', 'comment', 'allowDiskUse', 'let', 'batchSize'])

/**
 * Reads a page as `Model.find` would: mongoose casts the filter, runs the hooks, hydrates and populates the rows. Only
 * where it would ask the driver for all of them, `read` gives it those of the page.
 */
export async function pageOfModel (model: Model, options: ModelOptions, read: (found: Found) => Promise<object[]>): Promise<object[]> {
  const { filter = {}, projection, lean, populate, driverOptions: { session } = {} } = options
  const query = model.find(filter)
  let asked = false
  query.mongooseCollection = {
    name: (model.collection as { name?: unknown }).name,
    find: (filter: object, { projection, collation, hint, ...options }: { projection?: object, collation?: Collation, hint?: string | object } = {}) => ({
      toArray: () => {
        asked = true
        const driverOptions = Object.fromEntries(Object.entries(options).filter(([name, value]) => TAKEN.has(name) && value != null))
        return read({ filter, projection, defaults: { collation, hint, driverOptions } })
      }
    })
  }
  if (session !== undefined) query.setOptions({ session })
  if (projection !== undefined) query.select(projection)
  if (lean !== undefined && lean !== false) query.lean(lean)
  if (populate !== undefined) query.populate(populate)
  const rows = await query.exec()
  if (!asked) throw new InvalidOptionsError(`the model "${model.modelName}" answered without asking its collection, so there is no page`)
  return rows
}
