import { tellOf } from '@jpulse/plugin-kit'
import { errorCodes, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { MongoServerError } from 'mongodb'
import { DocumentsUnavailableError } from 'server-kit'
import { FST_ERR_RERUM_INVALID_BODY, FST_ERR_RERUM_INVALID_FILTER, FST_ERR_RERUM_MEDIA_TYPE, FST_ERR_RERUM_NO_ROUTE, FST_ERR_RERUM_TOO_SLOW } from '../errors.ts'
import type { Living } from '../store/document.ts'
import { shown } from '../store/identity.ts'

const MAX_TIME_EXPIRED = 50
/** A value that is JSON and yet none for this database: FerretDB takes no arrays within arrays. */
const REFUSED_VALUE: ReadonlySet<number> = new Set([2, 14])
/** What FerretDB says of a name with a blank at an end, where one of its objects has that name; MongoDB takes it. */
const REFUSED_PATH = /path element must not/

/** Answers errors and unknown addresses with the suite's envelope. */
export default fp(async (app: FastifyInstance) => {
  app.setErrorHandler(sendError)
  app.setNotFoundHandler(async (request) => {
    throw new FST_ERR_RERUM_NO_ROUTE(request.url.slice(0, 200))
  })
}, { name: 'rerum-errors', fastify: '5.x' })

const RETRY_AFTER_SECONDS = '1'

export function sendError (thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const err = known(thrown, request)
  const { statusCode, code, error, headers } = tellOf(err, 'FST_ERR_RERUM')
  if (statusCode >= 500 && statusCode !== 503) request.log.error({ err }, 'request failed')
  else if (statusCode === 503 && !(err instanceof DocumentsUnavailableError)) request.log.warn({ err }, 'request refused')
  reply.code(statusCode).headers(statusCode === 503 ? { 'retry-after': RETRY_AFTER_SECONDS, ...headers } : headers)
  const { current } = err as { current?: Living }
  if (current !== undefined) reply.header('Current-Overwritten-Version', current.__rerum.isOverwritten)
  return reply.type('application/json; charset=utf-8').send({ success: false, error, code, statusCode, ...(current !== undefined && { currentVersion: shown(current) }) })
}

/** What Fastify and the database say, in the words of this API. */
function known (err: unknown, { headers }: FastifyRequest): unknown {
  if (err instanceof errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE) return new FST_ERR_RERUM_MEDIA_TYPE(`Unsupported Content-Type: ${headers['content-type']}`)
  if (!(err instanceof MongoServerError)) return err
  const code = Number(err.code)
  if (code === MAX_TIME_EXPIRED) return Object.assign(new FST_ERR_RERUM_TOO_SLOW(), { cause: err })
  if (REFUSED_PATH.test(err.message)) return new FST_ERR_RERUM_INVALID_FILTER('holds a path that the database does not take')
  return REFUSED_VALUE.has(code) ? new FST_ERR_RERUM_INVALID_BODY(`holds what the database does not take: ${err.message}`) : err
}
