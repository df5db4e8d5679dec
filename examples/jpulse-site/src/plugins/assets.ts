import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import statics from '@fastify/static'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

const PUBLIC = fileURLToPath(new URL('../../public/', import.meta.url))
/** The client of pages: plain ESM in a few files beside each other, as the package has them. */
const CLIENT = dirname(fileURLToPath(import.meta.resolve('@jpulse/ws-client')))

/** The page on which the API is tried. */
const SWAGGER_UI = fileURLToPath(new URL('static/', import.meta.resolve('@fastify/swagger-ui')))

/** What pages load: this site's own files, the client below /assets/ws/, and Swagger UI. */
export default fp(async (app: FastifyInstance) => {
  await app.register(statics, { root: PUBLIC, prefix: '/assets/' })
  await app.register(statics, {
    root: CLIENT,
    prefix: '/assets/ws/',
    decorateReply: false,
    allowedPath: (path) => /^\/?[\w-]+\.js$/.test(path)
  })
  await app.register(statics, {
    root: SWAGGER_UI,
    prefix: '/assets/swagger-ui/',
    decorateReply: false,
    // It changes with a deploy at most, and is larger than all else together.
    maxAge: '1d',
    allowedPath: (path) => /^\/?swagger-ui(?:-bundle\.js|\.css)$/.test(path)
  })
}, { name: 'site-assets', fastify: '5.x' })
