import createError from '@fastify/error'

/** The configuration makes no sense. The message names the variable and, where it holds no secret, its value. */
export const ConfigError = createError<[string]>('FST_ERR_SITE_CONFIG', '%s', 500)

/** MongoDB does not answer. What needs no documents works on, and the server reconnects by itself. */
export const DocumentsUnavailableError = createError('FST_ERR_SITE_DOCUMENTS_UNAVAILABLE', 'The database does not answer. Please try again in a moment.', 503)
