import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { MongoServerError } from 'mongodb'
import { DocumentsUnavailableError } from 'server-kit'
import { FST_ERR_RERUM_INVALID_BODY, FST_ERR_RERUM_NO_ROUTE } from '../errors.ts'

/** Answers errors and unknown addresses with the suite's envelope. */
export default fp(async (app: FastifyInstance) => {
  app.setErrorHandler(sendError)
  app.setNotFoundHandler(async (request) => {
    throw new FST_ERR_RERUM_NO_ROUTE(request.url.slice(0, 200))
  })
}, { name: 'rerum-errors', fastify: '5.x' })

export function sendError (thrown: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const error = isRefusedValue(thrown) ? new FST_ERR_RERUM_INVALID_BODY(`holds what the database does not take: ${thrown.message}`) : thrown
  const { statusCode, code, message } = describe(error)
  if (statusCode >= 500 && statusCode !== 503) request.log.error({ err: error }, 'request failed')
  else if (statusCode === 503 && !(error instanceof DocumentsUnavailableError)) request.log.warn({ err: error }, 'request refused')
  if (statusCode === 401) reply.header('WWW-Authenticate', 'Bearer')
  if (statusCode === 503) reply.header('Retry-After', '1')
  const { currentVersion } = error as { currentVersion?: string }
  if (currentVersion !== undefined) reply.header('Current-Overwritten-Version', currentVersion)
  return reply.code(statusCode).type('application/json; charset=utf-8').send({ success: false, error: message, code, statusCode, ...(currentVersion !== undefined && { currentVersion }) })
}

function describe (error: FastifyError): { statusCode: number, code: string, message: string } {
  const statusCode = error.statusCode !== undefined && error.statusCode >= 400 ? error.statusCode : 500
  if (statusCode === 500) return { statusCode, code: 'FST_ERR_RERUM_INTERNAL', message: 'Something went wrong on our side.' }
  return { statusCode, code: error.code ?? 'FST_ERR_RERUM_REQUEST', message: error.message }
}

/** A value that is JSON and yet none for this database: FerretDB takes no arrays within arrays. */
const isRefusedValue = (err: unknown): err is MongoServerError => err instanceof MongoServerError && (err.code === 2 || err.code === 14)
