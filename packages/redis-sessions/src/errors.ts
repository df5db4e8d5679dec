import { createError } from '@fastify/error'

/** An option is missing, unknown or out of range; the message names it. */
export const FST_ERR_REDIS_SESSIONS_INVALID_OPTION = createError<[option: string, problem: string]>(
  'FST_ERR_REDIS_SESSIONS_INVALID_OPTION', 'redis-sessions: option %s %s', 500)

/** There is no such event to listen to. */
export const FST_ERR_REDIS_SESSIONS_INVALID_ARGUMENT = createError<[what: string, wanted: string]>(
  'FST_ERR_REDIS_SESSIONS_INVALID_ARGUMENT', '%s must be %s', 400)

/** The session cannot be read or written now. Carries a `Retry-After` header. */
export const FST_ERR_REDIS_SESSIONS_UNAVAILABLE = createError<[reason: string]>(
  'FST_ERR_REDIS_SESSIONS_UNAVAILABLE', 'The session is not available now: %s', 503)

/** With `localReads`: the other instances cannot be told that the session changes. It was not changed, or they are told in the background. Carries a `Retry-After` header. */
export const FST_ERR_REDIS_SESSIONS_INCOHERENT = createError(
  'FST_ERR_REDIS_SESSIONS_INCOHERENT', 'The other instances cannot be told now that the session changes', 503)

/** The backup cannot be asked, and the answer depends on it: a logout that would not hold, or a session that Redis does not know. Carries a `Retry-After` header. */
export const FST_ERR_REDIS_SESSIONS_BACKUP_UNAVAILABLE = createError(
  'FST_ERR_REDIS_SESSIONS_BACKUP_UNAVAILABLE', 'The backup of the sessions is not available now', 503)

/** What is stored of the session can be read by another instance only: it has a key, or a newer release, that this one has not. Nothing is put in its place. Carries a `Retry-After` header. */
export const FST_ERR_REDIS_SESSIONS_UNREADABLE = createError(
  'FST_ERR_REDIS_SESSIONS_UNREADABLE', 'The session can be read by another instance only', 503)

/** Too many parallel requests changed one session; nothing of this request was saved. Carries a `Retry-After` header. */
export const FST_ERR_REDIS_SESSIONS_CONFLICT = createError<[attempts: number]>(
  'FST_ERR_REDIS_SESSIONS_CONFLICT', 'The session was changed by others at each of %s attempts to save it', 503)

/** The fields of the session are larger than `maxBytes`. */
export const FST_ERR_REDIS_SESSIONS_TOO_LARGE = createError<[bytes: number, most: number]>(
  'FST_ERR_REDIS_SESSIONS_TOO_LARGE', 'The session would hold %s bytes, but may hold %s', 413)

/** A field has no JSON form, on whatever level: BigInt, a cycle, a function, a symbol, a Map, a Set, an Error, a Promise. */
export const FST_ERR_REDIS_SESSIONS_NOT_SERIALIZABLE = createError<[field: string, problem: string]>(
  'FST_ERR_REDIS_SESSIONS_NOT_SERIALIZABLE', 'The session field "%s" cannot be stored: %s', 400)

/** A field has the name of something that every session object has, for example `cookie` or `save`. */
export const FST_ERR_REDIS_SESSIONS_RESERVED_FIELD = createError<[field: string]>(
  'FST_ERR_REDIS_SESSIONS_RESERVED_FIELD', 'A session field cannot be named "%s"', 400)

/** An attribute of `session.cookie`, or one passed to `session.options` or `decryptSession`, is none that a cookie can have, or something else was put in the place of `session.cookie`; the message names it. */
export const FST_ERR_REDIS_SESSIONS_INVALID_COOKIE = createError<[attribute: string, wanted: string]>(
  'FST_ERR_REDIS_SESSIONS_INVALID_COOKIE', 'The attribute %s of the session cookie must be %s', 500)

/** A user id is not a well-formed string of 1 to 1024 characters. */
export const FST_ERR_REDIS_SESSIONS_INVALID_USER = createError(
  'FST_ERR_REDIS_SESSIONS_INVALID_USER', 'A user id must be a string of 1 to 1024 characters', 400)

/** The user has no session of this handle: it ended, or never was. */
export const FST_ERR_REDIS_SESSIONS_UNKNOWN_HANDLE = createError(
  'FST_ERR_REDIS_SESSIONS_UNKNOWN_HANDLE', 'The user has no session of this handle', 404)

/** The request has no session that `login` made. */
export const FST_ERR_REDIS_SESSIONS_NOT_LOGGED_IN = createError(
  'FST_ERR_REDIS_SESSIONS_NOT_LOGGED_IN', 'The request belongs to no logged-in session', 401)

/** The request did not pass the hooks of this plugin, lies outside the path of its cookie, or its route has `session: false`. */
export const FST_ERR_REDIS_SESSIONS_NO_SESSION = createError(
  'FST_ERR_REDIS_SESSIONS_NO_SESSION', 'The request has no session: redis-sessions is not registered for its route, the cookie has another path, or the route has session: false', 500)

/** The session was to get a new id after the reply had left: the browser could not be told. */
export const FST_ERR_REDIS_SESSIONS_REPLY_SENT = createError(
  'FST_ERR_REDIS_SESSIONS_REPLY_SENT', 'The session cannot get a new id: the reply was sent before. Await login and regenerate before you send', 500)

const RETRY_AFTER_SECONDS = '1'

/** The 503 of a store that does not answer. */
export function unavailable (cause: unknown): Error {
  if (cause instanceof FST_ERR_REDIS_SESSIONS_UNAVAILABLE) return cause
  const error = withRetryAfter(new FST_ERR_REDIS_SESSIONS_UNAVAILABLE(reasonOf(cause)))
  error.cause = cause
  return error
}

/** The 503 of a backup that does not answer. */
export function backupUnavailable (cause: unknown): Error {
  const error = withRetryAfter(new FST_ERR_REDIS_SESSIONS_BACKUP_UNAVAILABLE())
  error.cause = cause
  return error
}

/** @returns the error, which will make Fastify answer with a `Retry-After` header */
export function withRetryAfter<E extends Error> (error: E): E {
  return Object.assign(error, { headers: { 'retry-after': RETRY_AFTER_SECONDS } })
}

/** Visitors may see this message: addresses and the server's words stay in the cause. */
function reasonOf (cause: unknown): string {
  const code = (cause as { code?: unknown } | undefined)?.code
  return code === 'FST_ERR_REDIS_LINK_TIMEOUT' ? 'the store did not answer in time' : 'the store is away'
}
