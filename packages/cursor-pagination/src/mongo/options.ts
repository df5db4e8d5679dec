import { InvalidOptionsError } from '../errors.ts'
import { kindOf, Kind, tagOf } from '../bson/index.ts'

/** Options of the driver that a page has as its own, and by which name: as the driver's they would change what is read behind its back. */
const OWN = { sort: 'sort', projection: 'projection', skip: 'offset', limit: 'limit', collation: 'collation', hint: 'hint' } as const

/** With these the driver gives something else than the documents of the query, or not all of them. */
const BREAKING = ['min', 'max', 'returnKey', 'singleBatch', 'tailable', 'awaitData', 'oplogReplay', 'raw', 'fieldsAsRaw', 'explain', 'out']

/** Options of the driver's find and aggregate that leave a walk whole. */
export interface PageDriverOptions {
  session?: object | undefined
  signal?: AbortSignal | undefined
  maxTimeMS?: number | undefined
  timeoutMS?: number | undefined
  readPreference?: unknown | undefined
  readConcern?: unknown | undefined
  comment?: unknown | undefined
  let?: object | undefined
  batchSize?: number | undefined
  allowDiskUse?: boolean | undefined
  allowPartialResults?: boolean | undefined
  noCursorTimeout?: boolean | undefined
  maxAwaitTimeMS?: number | undefined
  bypassDocumentValidation?: boolean | undefined
  promoteValues?: boolean | undefined
  promoteLongs?: boolean | undefined
  promoteBuffers?: boolean | undefined
  useBigInt64?: boolean | undefined
  bsonRegExp?: boolean | undefined
  enableUtf8Validation?: boolean | undefined
  ignoreUndefined?: boolean | undefined
  serializeFunctions?: boolean | undefined
  checkKeys?: boolean | undefined
  dbName?: string | undefined
  authdb?: string | undefined
  willRetryWrite?: boolean | undefined
  retryReads?: boolean | undefined
  omitReadPreference?: boolean | undefined
  showRecordId?: boolean | undefined
}

/** @throws FST_ERR_CURSOR_PAGINATION_INVALID_OPTIONS */
export function checkDriverOptions (options: PageDriverOptions): void {
  const given = Object.entries(options).filter(([, value]) => value !== undefined).map(([name]) => name)
  const own = Object.entries(OWN).find(([name]) => given.includes(name))
  if (own !== undefined) throw new InvalidOptionsError(`"driverOptions.${own[0]}" is not taken, give the option "${own[1]}" of the page`)
  const breaking = BREAKING.find((name) => given.includes(name))
  if (breaking !== undefined) throw new InvalidOptionsError(`"driverOptions.${breaking}" is not taken, for a page needs the documents of its query as they are`)
}

/**
 * Decoding that our reads must not have, whatever the client or the collection says: without its subtype a UUID has
 * another place in the order, so a walk would repeat its first page for ever.
 */
export const LOSSLESS = { raw: false, fieldsAsRaw: {}, promoteBuffers: false } as const

/**
 * Gives the caller's rows what they would have had without {@link LOSSLESS}: the bytes of a Binary, where the client has
 * `promoteBuffers`.
 */
export function asClientDecodes (collection: { bsonOptions?: PageDriverOptions }, { promoteBuffers, promoteValues }: PageDriverOptions): <T extends object>(document: T) => T {
  const { bsonOptions = {} } = collection
  const wanted = (promoteBuffers ?? bsonOptions.promoteBuffers) === true && (promoteValues ?? bsonOptions.promoteValues) !== false
  return wanted ? (document) => withBuffers(document) as typeof document : (document) => document
}

function withBuffers (value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(withBuffers)
  if (tagOf(value) === 'Binary') {
    const { buffer, position } = value as { buffer: Uint8Array, position: number }
    return Buffer.from(buffer.buffer, buffer.byteOffset, position)
  }
  if (tagOf(value) !== undefined || kindOf(value) !== Kind.object) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, withBuffers(one)]))
}
