import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/** As long as the original lets browsers remember. */
const MAX_AGE_SECONDS = '600'
const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'
/** Whatever a page sends, named where an older browser does not know the star; it never stands for Authorization. */
const HEADERS = 'Authorization, Content-Type, Accept, Cache-Control, If-Match, If-None-Match, If-Overwritten-Version, If-Unmodified-Since, Slug, X-HTTP-Method-Override, *'
const EXPOSED = 'Location, Link, ETag, Allow, Last-Modified, Current-Overwritten-Version, Pagination-Limit, Pagination-Skip, Pagination-Limit-Max, Pagination-Skip-Max, Retry-After, WWW-Authenticate, X-Cache, X-Worker'

/**
 * Opens the store to pages of every origin. Nothing here is known by a cookie: a page needs a token to write, and reads what
 * anybody may read.
 */
export default fp(async (app: FastifyInstance) => {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('Access-Control-Allow-Origin', '*').header('Access-Control-Expose-Headers', EXPOSED)
    if (request.method !== 'OPTIONS' || request.headers['access-control-request-method'] === undefined) return
    return reply.code(204).headers({ 'Access-Control-Allow-Methods': METHODS, 'Access-Control-Allow-Headers': HEADERS, 'Access-Control-Max-Age': MAX_AGE_SECONDS }).send()
  })
}, { name: 'rerum-cors', fastify: '5.x' })
