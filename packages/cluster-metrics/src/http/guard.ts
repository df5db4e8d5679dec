import type { FastifyBaseLogger, FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { FST_ERR_CLUSTER_METRICS_UNAUTHORIZED } from '../errors.ts'
import type { Authorize } from '../options.ts'

/** Lets nobody through but whom `authorize` lets in. */
export function guard (authorize: Authorize): (request: FastifyRequest) => Promise<void> {
  return async (request) => {
    if (await authorize(request) !== true) throw new FST_ERR_CLUSTER_METRICS_UNAUTHORIZED()
  }
}

/** Whether the caller may see everything in a route that anybody may use. */
export async function isAuthorized (authorize: Authorize | undefined, request: FastifyRequest, log: FastifyBaseLogger): Promise<boolean> {
  if (authorize === undefined) return false
  try {
    return await authorize(request) === true
  } catch (err) {
    if (!isRefusal(err)) log.warn({ err }, 'authorize failed, so the caller is treated as anonymous')
    return false
  }
}

/** Answers in the envelope; what is not the caller's fault is logged and not told. */
export async function sendFailure (error: FastifyError, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const statusCode = isRefusal(error) ? error.statusCode! : 500
  if (statusCode === 500) request.log.error({ err: error }, 'a request for metrics failed')
  const told = statusCode === 500 ? { error: 'Internal Server Error', code: 'INTERNAL_ERROR' } : { error: error.message, code: error.code ?? 'REFUSED' }
  await reply.code(statusCode).type('application/json').serializer(JSON.stringify).send({ success: false, ...told, statusCode })
}

function isRefusal (err: unknown): boolean {
  const { statusCode } = err as FastifyError
  return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500
}
