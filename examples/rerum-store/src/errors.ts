import createError from '@fastify/error'

/** The body, or a part of it, is no object that can be stored. */
export const FST_ERR_RERUM_INVALID_BODY = createError<[problem: string]>('FST_ERR_RERUM_INVALID_BODY', 'The body %s', 400)

/** The object has more bytes in the database's form than it takes: each number of a long list has its place in front of it. */
export const FST_ERR_RERUM_TOO_LARGE = createError('FST_ERR_RERUM_TOO_LARGE', 'The object is too large: as BSON it has more than 15 MB', 413)

/** A body of no media type, of several, or of one that is not taken here. The messages begin as the original's, which its clients look for. */
export const FST_ERR_RERUM_MEDIA_TYPE = createError<[problem: string]>('FST_ERR_RERUM_MEDIA_TYPE', '%s', 415)

/** A filter holds an operator that is not allowed, or makes no sense. */
export const FST_ERR_RERUM_INVALID_FILTER = createError<[problem: string]>('FST_ERR_RERUM_INVALID_FILTER', 'The filter %s', 400)

/** A search holds no word, or an unknown option. */
export const FST_ERR_RERUM_INVALID_SEARCH = createError<[problem: string]>('FST_ERR_RERUM_INVALID_SEARCH', 'The search %s', 400)

/** The limit of a page, or what it skips, is no whole number, or is given twice. */
export const FST_ERR_RERUM_INVALID_PAGE = createError<[name: string]>('FST_ERR_RERUM_INVALID_PAGE', '%s must be a whole number, and given once', 400)

/** An id is neither one of this store nor a URI. */
export const FST_ERR_RERUM_INVALID_ID = createError<[id: string]>('FST_ERR_RERUM_INVALID_ID', '"%s" is no id', 400)

/** A slug holds characters that it must not, or looks like an id. */
export const FST_ERR_RERUM_INVALID_SLUG = createError<[slug: string]>('FST_ERR_RERUM_INVALID_SLUG', '"%s" cannot be a slug: up to 100 letters, digits, dots, dashes and underscores, and not 24 hexadecimal digits', 400)

/** No token, or one that is not valid. */
export const FST_ERR_RERUM_UNAUTHORIZED = createError<[problem: string]>('FST_ERR_RERUM_UNAUTHORIZED', 'Not authorized: %s', 401)

/** The object was made by another agent. */
export const FST_ERR_RERUM_NOT_GENERATOR = createError('FST_ERR_RERUM_NOT_GENERATOR', 'Only the agent that made the object may do this', 401)

/** The token names no agent. */
export const FST_ERR_RERUM_NO_AGENT = createError('FST_ERR_RERUM_NO_AGENT', 'The token names no agent', 403)

/** The token does not name an administrator. */
export const FST_ERR_RERUM_NOT_ADMIN = createError('FST_ERR_RERUM_NOT_ADMIN', 'This is for administrators', 403)

/** The object is deleted. */
export const FST_ERR_RERUM_DELETED = createError('FST_ERR_RERUM_DELETED', 'The object is deleted', 403)

/** The object is released, and cannot change any more. */
export const FST_ERR_RERUM_RELEASED = createError('FST_ERR_RERUM_RELEASED', 'The object is released, and does not change any more', 403)

/** There is no object of that id or slug. */
export const FST_ERR_RERUM_NOT_FOUND = createError<[id: string]>('FST_ERR_RERUM_NOT_FOUND', 'There is no object "%s"', 404)

/** There is nothing at this address. */
export const FST_ERR_RERUM_NO_ROUTE = createError<[url: string]>('FST_ERR_RERUM_NO_ROUTE', 'There is nothing at %s', 404)

/** The address does not take this method; `Allow` says which it takes. */
export const FST_ERR_RERUM_METHOD = createError<[method: string]>('FST_ERR_RERUM_METHOD', '%s is not allowed here', 405)

/** The slug belongs to another object. */
export const FST_ERR_RERUM_SLUG_TAKEN = createError<[slug: string]>('FST_ERR_RERUM_SLUG_TAKEN', 'The slug "%s" is taken', 409)

/** The object was overwritten since the version that `If-Overwritten-Version`, or `__rerum.isOverwritten` of the body, names. */
export const FST_ERR_RERUM_VERSION = createError('FST_ERR_RERUM_VERSION', 'The object was overwritten meanwhile', 409)

/** The object is another one than `If-Match` names. */
export const FST_ERR_RERUM_PRECONDITION = createError('FST_ERR_RERUM_PRECONDITION', 'The object has changed meanwhile', 412)

/** An object has so many versions, or so large ones, that one answer cannot hold them. */
export const FST_ERR_RERUM_ANSWER_TOO_LARGE = createError('FST_ERR_RERUM_ANSWER_TOO_LARGE', 'These versions are more than one answer holds (64 MB). Please ask for those of a later or an earlier one', 422)

/** The store takes no writes. */
export const FST_ERR_RERUM_READONLY = createError('FST_ERR_RERUM_READONLY', 'The store is read only at the moment', 503)

/** Others were writing to the same versions all the time. Nothing was written; the request may be sent again. */
export const FST_ERR_RERUM_BUSY = createError('FST_ERR_RERUM_BUSY', 'Others are writing to this object. Please try again', 503)

/** The database did not finish in time. */
export const FST_ERR_RERUM_TOO_SLOW = createError('FST_ERR_RERUM_TOO_SLOW', 'The database took too long. Please try again, or ask for less', 503)
