import { createError } from '@fastify/error'

/** The cursor is not one that this server gave for this query: malformed, tampered with, foreign, expired or too long. */
export const InvalidCursorError = createError<[reason: string]>('FST_ERR_CURSOR_PAGINATION_INVALID_CURSOR', 'Invalid cursor: %s', 400)

/** The page size is not a positive integer, or is above the maximum where the application refuses that. */
export const InvalidLimitError = createError<[reason: string]>('FST_ERR_CURSOR_PAGINATION_INVALID_LIMIT', 'Invalid limit: %s', 400)

/** The offset is not an integer of 0 or more, is above the maximum, or stands beside a cursor. */
export const InvalidOffsetError = createError<[reason: string]>('FST_ERR_CURSOR_PAGINATION_INVALID_OFFSET', 'Invalid offset: %s', 400)

/** The parameters of a request are so long that no header can name the next page. */
export const QueryTooLongError = createError('FST_ERR_CURSOR_PAGINATION_QUERY_TOO_LONG', 'The query is too long for a link to the next page', 414)

/** The sort order is malformed, or names a field that visitors may not sort by. */
export const InvalidSortError = createError<[reason: string]>('FST_ERR_CURSOR_PAGINATION_INVALID_SORT', 'Invalid sort: %s', 400)

/** A document holds an array on the path of a sort field: it has no single place in the order. */
export const ArrayFieldError = createError<[field: string]>('FST_ERR_CURSOR_PAGINATION_ARRAY_FIELD',
  'A document holds an array in the sort field "%s", which gives it no single place in the order', 400)

/** A document breaks the type that the sort declares for a field. */
export const TypeMismatchError = createError<[field: string, declared: string, found: string]>('FST_ERR_CURSOR_PAGINATION_TYPE_MISMATCH',
  'The sort declares the field "%s" as %s, and a document holds %s there', 500)

/** A document holds a value that no query can continue after: a regular expression, or a date outside JavaScript's range. */
export const UnsortableValueError = createError<[field: string, found: string]>('FST_ERR_CURSOR_PAGINATION_UNSORTABLE_VALUE',
  'The sort field "%s" of a document holds %s, which no query can continue after', 500)

/** An item has no key, or two items of one listing share it: their order would not be total. */
export const InvalidKeyError = createError<[key: string, reason: string]>('FST_ERR_CURSOR_PAGINATION_INVALID_KEY', 'The key "%s" %s', 500)

/** The plugin or a call was given options that it does not take. */
export const InvalidOptionsError = createError<[reason: string]>('FST_ERR_CURSOR_PAGINATION_INVALID_OPTIONS', 'Invalid options: %s', 500)

/** No secret, or in production a short one. */
export const NoSecretError = createError<[reason: string]>('FST_ERR_CURSOR_PAGINATION_NO_SECRET', 'Cursors cannot be signed: %s', 500)
