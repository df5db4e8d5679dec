import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { FST_ERR_RERUM_MEDIA_TYPE } from '../errors.ts'

const TOKEN = "[\\w!#$%&'*+.^`|~-]+"
/** RFC 9110, section 8.3.1: a type, and parameters that are each a name and a value. */
const MEDIA_TYPE = new RegExp(`^${TOKEN}/${TOKEN}(?:[ \\t]*;[ \\t]*${TOKEN}=(?:${TOKEN}|"(?:[^"\\\\]|\\\\.)*"))*$`)

/**
 * Refuses encoded bodies, and bodies of what is no media type, as `application/json; text/plain`. Fastify looks at what stands before the first
 * semicolon alone; who else reads the header, a proxy or a filter, may see another type than was parsed.
 */
export default fp(async (app: FastifyInstance) => {
  app.addHook('preParsing', async ({ headers }) => {
    const type = headers['content-type']?.trim()
    const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
    if (!hasBody) return
    // Nothing here decodes a body, and what is taken for another encoding than it has may be read otherwise by who stands in between.
    if (!/^(identity)?$/i.test(headers['content-encoding']?.trim() ?? '')) throw new FST_ERR_RERUM_MEDIA_TYPE('Unsupported Content-Encoding: a body is sent as it is')
    if (type === undefined || type === '') throw new FST_ERR_RERUM_MEDIA_TYPE('Missing or empty Content-Type header')
    if (type.length > 1000 || !MEDIA_TYPE.test(type)) throw new FST_ERR_RERUM_MEDIA_TYPE(`Multiple Content-Type values are not allowed, nor is what is none: ${JSON.stringify(type.slice(0, 100))}`)
  })
}, { name: 'rerum-media-types', fastify: '5.x' })
