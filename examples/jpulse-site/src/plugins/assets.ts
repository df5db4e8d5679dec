import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import statics from '@fastify/static'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

const PUBLIC = fileURLToPath(new URL('../../public/', import.meta.url))
/** The client of pages: plain ESM in a few files beside each other, as the package has them. */
const CLIENT = dirname(fileURLToPath(import.meta.resolve('@jpulse/ws-client')))

/** What pages load: this site's own files, and the client below /assets/ws/. */
export default fp(async (app: FastifyInstance) => {
  await app.register(statics, { root: PUBLIC, prefix: '/assets/' })
  await app.register(statics, {
    root: CLIENT,
    prefix: '/assets/ws/',
    decorateReply: false,
    allowedPath: (path) => /^\/?[\w-]+\.js$/.test(path)
  })
}, { name: 'site-assets', fastify: '5.x' })
