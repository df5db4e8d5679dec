import { createError } from '@fastify/error'

/** An option is missing, unknown or out of range; the message names it. */
export const FST_ERR_CONFIG_CACHE_INVALID_OPTION = createError<[option: string, problem: string]>(
  'FST_ERR_CONFIG_CACHE_INVALID_OPTION', 'config-cache: option %s %s', 500)

/** A key, tag, glob or name is empty, too long, or not a string. */
export const FST_ERR_CONFIG_CACHE_INVALID_KEY = createError<[what: string, problem: string]>(
  'FST_ERR_CONFIG_CACHE_INVALID_KEY', '%s %s', 400)

/** A key of `getOrLoad` begins with a name that the cache keeps for its own entries. */
export const FST_ERR_CONFIG_CACHE_RESERVED = createError<[key: string]>(
  'FST_ERR_CONFIG_CACHE_RESERVED', 'The key "%s" begins with a reserved prefix', 400)

/** The collection is not among the option `collections`. */
export const FST_ERR_CONFIG_CACHE_UNKNOWN_COLLECTION = createError<[collection: string]>(
  'FST_ERR_CONFIG_CACHE_UNKNOWN_COLLECTION', 'The collection "%s" is not among those of the option collections', 404)

/** A loader took longer than `loaderTimeoutMs`. Its signal is aborted, and the next read loads anew. */
export const FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT = createError<[key: string, ms: number]>(
  'FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT', 'The loader of "%s" took longer than %s ms', 504)

/** A loader reads what waits for it: its own key, or one whose loader reads its key. */
export const FST_ERR_CONFIG_CACHE_REENTRANT = createError<[key: string, other: string]>(
  'FST_ERR_CONFIG_CACHE_REENTRANT', 'The loader of "%s" reads "%s", which waits for it', 500)

/** The scope of a cached route is no text or number. */
export const FST_ERR_CONFIG_CACHE_INVALID_SCOPE = createError<[what: string]>(
  'FST_ERR_CONFIG_CACHE_INVALID_SCOPE', 'The scope of a route must be a text or a number, not %s', 500)

/** What a route asks of the cache cannot be given: it was declared before the cache, where it cannot be reached, or changed by a hook after it. */
export const FST_ERR_CONFIG_CACHE_NOT_IN_FORCE = createError<[url: string, problem: string]>(
  'FST_ERR_CONFIG_CACHE_NOT_IN_FORCE', 'The route %s %s', 500)

/** A value has no JSON form, or none that the source keeps. */
export const FST_ERR_CONFIG_CACHE_INVALID_VALUE = createError<[problem: string]>(
  'FST_ERR_CONFIG_CACHE_INVALID_VALUE', 'The value cannot be stored: %s', 400)

/** A flag's rules, variants or shares are not what they must be; the message says where. */
export const FST_ERR_CONFIG_CACHE_INVALID_FEATURE = createError<[path: string, problem: string]>(
  'FST_ERR_CONFIG_CACHE_INVALID_FEATURE', 'The definition of the flag: %s %s', 400)

/** A flag that is asked for has a definition that is none: it was written behind the cache or by an older release, which did not check it, so who asks is not to blame. */
export const FST_ERR_CONFIG_CACHE_BROKEN_FEATURE = createError<[name: string, problem: string]>(
  'FST_ERR_CONFIG_CACHE_BROKEN_FEATURE', 'The flag "%s" was written unchecked, behind the cache or by an older release, and cannot be evaluated. %s', 500)

/** The JSON of a value is longer than `maxValueBytes`. */
export const FST_ERR_CONFIG_CACHE_TOO_LARGE = createError<[bytes: number, limit: number]>(
  'FST_ERR_CONFIG_CACHE_TOO_LARGE', 'The value has %s bytes, more than the limit of %s', 413)

/** A write names no key and no tag, or too many. */
export const FST_ERR_CONFIG_CACHE_INVALID_WRITE = createError<[problem: string]>(
  'FST_ERR_CONFIG_CACHE_INVALID_WRITE', 'The write %s', 400)

/** The cluster cannot be made safe for a write. The database was not touched; the write may be tried again. */
export const FST_ERR_CONFIG_CACHE_UNREACHABLE = createError<[reason: string]>(
  'FST_ERR_CONFIG_CACHE_UNREACHABLE', 'The write was refused before the database was touched: %s', 503)

/** The source is private to this process, and another process has the documents: what is written there nobody sees here. Nothing was read or written. */
export const FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE = createError<[process: string]>(
  'FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE', 'The documents are in the memory of another process, %s: give all instances one source that they share, such as mongoSource(db)', 500)

/** Too many writes, or writes of too many keys and tags, failed without telling what became of them or are under way. This one was not begun; it may be tried again. */
export const FST_ERR_CONFIG_CACHE_UNDECIDED = createError<[reason: string]>(
  'FST_ERR_CONFIG_CACHE_UNDECIDED', 'The write was refused before the database was touched: %s', 503)

/** The database was written, but the cluster could not be told in time. It is told in the background; until then a read may return the older value. */
export const FST_ERR_CONFIG_CACHE_UNCONFIRMED = createError<[reason: string]>(
  'FST_ERR_CONFIG_CACHE_UNCONFIRMED', 'The write reached the database but is not confirmed in the cluster: %s', 503)

/** `clear` has emptied this process, and neither Redis nor the other instances. It may be tried again. */
export const FST_ERR_CONFIG_CACHE_NOT_CLEARED = createError<[reason: string]>(
  'FST_ERR_CONFIG_CACHE_NOT_CLEARED', 'Only this process was cleared: %s', 503)

/** There is no document of that key. */
export const FST_ERR_CONFIG_CACHE_NOT_FOUND = createError<[what: string]>(
  'FST_ERR_CONFIG_CACHE_NOT_FOUND', '%s is not known', 404)

/** A document is not of the version that a write asked for; the message says what it is. Nothing was written. */
export const FST_ERR_CONFIG_CACHE_VERSION_CONFLICT = createError<[what: string, problem: string]>(
  'FST_ERR_CONFIG_CACHE_VERSION_CONFLICT', '%s is not what the write asked for: %s', 412)

/** A write must say what it has seen, and does not: `requireIfMatch` is set, or `ifVersion` is undefined. Nothing was written. */
export const FST_ERR_CONFIG_CACHE_PRECONDITION_REQUIRED = createError<[what: string]>(
  'FST_ERR_CONFIG_CACHE_PRECONDITION_REQUIRED', '%s', 428)

/** A header with a condition cannot be read. */
export const FST_ERR_CONFIG_CACHE_INVALID_CONDITION = createError<[header: string, problem: string]>(
  'FST_ERR_CONFIG_CACHE_INVALID_CONDITION', 'The header %s %s', 400)

/** The source has no method `update`, which `ifVersion` needs. Nothing was written. */
export const FST_ERR_CONFIG_CACHE_UNSUPPORTED = createError(
  'FST_ERR_CONFIG_CACHE_UNSUPPORTED', 'The source cannot compare before it writes: it has no method update', 501)

/** Nobody asked, and `authorize` refused. */
export const FST_ERR_CONFIG_CACHE_UNAUTHORIZED = createError(
  'FST_ERR_CONFIG_CACHE_UNAUTHORIZED', 'Log in to use this', 401)

/** `authorize` refused the request of somebody whom the application knows. */
export const FST_ERR_CONFIG_CACHE_FORBIDDEN = createError(
  'FST_ERR_CONFIG_CACHE_FORBIDDEN', 'You may not use this', 403)

/** The cache is closed. */
export const FST_ERR_CONFIG_CACHE_CLOSED = createError(
  'FST_ERR_CONFIG_CACHE_CLOSED', 'The cache is closed', 503)
