import createError from '@fastify/error'

/** Nothing is served at this address. */
export const NotFoundError = createError<[string]>('FST_ERR_SITE_NOT_FOUND', 'Nothing is served at %s', 404)
