import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/** What programs use; pages describe themselves. */
const FOR_PROGRAMS = /^\/(?:api|health|metrics)(?:[/?]|$)/

/** Collects the schemas of all routes that are registered after it; pages/docs.ts shows them. */
export default fp(async (app: FastifyInstance) => {
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', info: { title: 'jpulse-site', version: '1', description: 'Answers are { success: true, data } or { success: false, error, code, statusCode }.' } },
    transform: ({ schema, url }) => ({ url, schema: FOR_PROGRAMS.test(url) ? schema : { ...schema, hide: true } })
  })
}, { name: 'site-open-api', fastify: '5.x' })
