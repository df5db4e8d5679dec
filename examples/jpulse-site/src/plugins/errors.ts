import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { ConnectionError, FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { DocumentsUnavailableError } from 'server-kit'
import { NotFoundError } from '../errors.ts'
import { errorPage } from '../pages/error.ts'

/** Answers errors and unknown addresses: with the API's envelope, or with a page where a person is reading. */
export default fp(async (app: FastifyInstance) => {
  app.setErrorHandler(sendError)
  app.setNotFoundHandler(async (request) => {
    throw new NotFoundError(request.url.slice(0, 200))
  })
}, { name: 'site-errors', fastify: '5.x' })

export function sendError (error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { statusCode, code, message } = describe(error)
  // That MongoDB is away is in the log already, once.
  if (statusCode >= 500 && !(error instanceof DocumentsUnavailableError)) request.log.error({ err: error }, 'request failed')
  reply.code(statusCode)
  const { retryAfter = statusCode === 503 ? 2 : undefined } = error as { retryAfter?: number }
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
  if (wantsPage(request)) return reply.type('text/html; charset=utf-8').send(errorPage({ statusCode, message }).toString())
  return reply.send({ success: false, error: message, code, statusCode })
}

/** Answers what is no HTTP at all, before there is a request that a hook or a handler could see. */
export function answerClientError ({ code }: ConnectionError, socket: Socket, worker: string): void {
  if (code === 'ECONNRESET' || !socket.writable) return
  const statusCode = code === 'HPE_HEADER_OVERFLOW' ? 431 : code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400
  const error = STATUS_CODES[statusCode] ?? ''
  const body = JSON.stringify({ success: false, error, code: 'FST_ERR_SITE_BAD_REQUEST', statusCode })
  socket.end(`HTTP/1.1 ${statusCode} ${error}\r\nX-Worker: ${worker}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`)
}

/** What the client learns: the message of an error that is meant for it, and no more than that of any other. */
function describe (error: FastifyError): { statusCode: number, code: string, message: string } {
  const statusCode = error.statusCode !== undefined && error.statusCode >= 400 ? error.statusCode : 500
  if (statusCode === 500) return { statusCode, code: 'FST_ERR_SITE_INTERNAL', message: 'Something went wrong on our side.' }
  return { statusCode, code: error.code ?? 'FST_ERR_SITE_REQUEST', message: error.message }
}

function wantsPage (request: FastifyRequest): boolean {
  if (/^\/(?:api|health)(?:[/?]|$)/.test(request.url)) return false
  const { accept } = request.headers
  return accept === undefined || accept.includes('text/html') || accept.includes('*/*')
}
