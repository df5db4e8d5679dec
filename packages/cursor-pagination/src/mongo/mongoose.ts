import { InvalidOptionsError } from '../errors.ts'
import type { PageDriverOptions } from './options.ts'

/** What is asked of a model of mongoose, versions 8 and 9. */
export interface Model {
  readonly modelName: string
  readonly collection: unknown
  readonly schema: { discriminatorMapping?: { isRoot?: boolean, key?: string, value?: unknown } }
  hydrate (document: object): unknown
  find (filter: object): ModelQuery
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

/** What mongoose made of the call, and asks its collection for. */
export interface Found {
  filter: object
  projection: object | undefined
}

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
    find: (filter: object, { projection }: { projection?: object } = {}) => ({
      toArray: () => {
        asked = true
        return read({ filter, projection })
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
