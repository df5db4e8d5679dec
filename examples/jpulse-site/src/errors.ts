import createError from '@fastify/error'

/** The configuration makes no sense. The message names the variable and, where it holds no secret, its value. */
export const ConfigError = createError<[string]>('FST_ERR_SITE_CONFIG', '%s', 500)

/** MongoDB does not answer. What needs no documents works on, and the site reconnects by itself. */
export const DocumentsUnavailableError = createError('FST_ERR_SITE_DOCUMENTS_UNAVAILABLE', 'The guest book is out of reach: its database does not answer. Please try again in a moment.', 503)

/** Nothing is served at this address. */
export const NotFoundError = createError<[string]>('FST_ERR_SITE_NOT_FOUND', 'Nothing is served at %s', 404)
