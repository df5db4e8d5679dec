import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { MongoServerError } from 'mongodb'
import { DocumentsUnavailableError } from 'server-kit'
import { FST_ERR_RERUM_INVALID_BODY, FST_ERR_RERUM_NO_ROUTE, FST_ERR_RERUM_TOO_SLOW } from '../errors.ts'

const MAX_TIME_EXPIRED = 50
/** A value that is JSON and yet none for this database: FerretDB takes no arrays within arrays. */
const REFUSED_VALUE: ReadonlySet<number> = new Set([2, 14])

/** Answers errors and unknown addresses with the suite's envelope. */
export default fp(async (app: FastifyInstance) => {
  app.setErrorHandler(sendError)
  app.setNotFoundHandler(async (request) => {
    throw new FST_ERR_RERUM_NO_ROUTE(request.url.slice(0, 200))
  })
}, { name: 'rerum-errors', fastify: '5.x' })

export function sendError (thrown: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const error = known(thrown)
  const { statusCode, code, message } = describe(error)
  if (statusCode >= 500 && statusCode !== 503) request.log.error({ err: error }, 'request failed')
  else if (statusCode === 503 && !(error instanceof DocumentsUnavailableError)) request.log.warn({ err: error }, 'request refused')
  if (statusCode === 401) reply.header('WWW-Authenticate', 'Bearer')
  if (statusCode === 503) reply.header('Retry-After', '1')
  const { currentVersion } = error as { currentVersion?: string }
  if (currentVersion !== undefined) reply.header('Current-Overwritten-Version', currentVersion)
  return reply.code(statusCode).type('application/json; charset=utf-8').send({ success: false, error: message, code, statusCode, ...(currentVersion !== undefined && { currentVersion }) })
}

/** What the database says, in the words of this API. */
function known (err: FastifyError): FastifyError {
  if (!(err instanceof MongoServerError)) return err
  const code = Number(err.code)
  if (code === MAX_TIME_EXPIRED) return Object.assign(new FST_ERR_RERUM_TOO_SLOW(), { cause: err })
  return REFUSED_VALUE.has(code) ? new FST_ERR_RERUM_INVALID_BODY(`holds what the database does not take: ${err.message}`) : err
}

function describe (error: FastifyError): { statusCode: number, code: string, message: string } {
  const statusCode = error.statusCode !== undefined && error.statusCode >= 400 ? error.statusCode : 500
  if (statusCode === 500) return { statusCode, code: 'FST_ERR_RERUM_INTERNAL', message: 'Something went wrong on our side.' }
  return { statusCode, code: error.code ?? 'FST_ERR_RERUM_REQUEST', message: error.message }
}
