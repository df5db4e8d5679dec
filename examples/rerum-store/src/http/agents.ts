import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { createVerifier } from 'fast-jwt'
import { FST_ERR_RERUM_NO_AGENT, FST_ERR_RERUM_NOT_ADMIN, FST_ERR_RERUM_READONLY, FST_ERR_RERUM_UNAUTHORIZED } from '../errors.ts'
import { isWellFormed } from '../store/text.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** For `onRequest` of what writes: the request has an agent afterwards. */
    asAgent: (request: FastifyRequest) => Promise<void>
    asAdmin: (request: FastifyRequest) => Promise<void>
  }
  interface FastifyRequest {
    agent: string
  }
}

/** Who asks: the subject of a Bearer token signed with HS256. Guards run before a body is read. */
export default fp(async (app: FastifyInstance, { secret, readonly }: { secret: string, readonly: boolean }) => {
  const verify = createVerifier({ key: secret, algorithms: ['HS256'] })

  const claimsOf = (request: FastifyRequest): Record<string, unknown> => {
    const [, token] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '') ?? []
    if (token === undefined) throw new FST_ERR_RERUM_UNAUTHORIZED('a Bearer token is needed')
    try {
      return verify(token) as Record<string, unknown>
    } catch {
      throw new FST_ERR_RERUM_UNAUTHORIZED('the token is not valid')
    }
  }

  app.decorateRequest('agent', '')
  app.decorate('asAgent', async (request: FastifyRequest) => {
    const { sub } = claimsOf(request)
    if (typeof sub !== 'string' || sub === '' || !isWellFormed(sub)) throw new FST_ERR_RERUM_NO_AGENT()
    if (readonly) throw new FST_ERR_RERUM_READONLY()
    request.agent = sub
  })
  app.decorate('asAdmin', async (request: FastifyRequest) => {
    if (claimsOf(request).role !== 'admin') throw new FST_ERR_RERUM_NOT_ADMIN()
  })
}, { name: 'rerum-agents', fastify: '5.x' })
