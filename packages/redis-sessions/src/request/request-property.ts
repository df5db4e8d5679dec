import type { FastifyRequest } from 'fastify'

/** Touching the session throws; a page that does not is served. */
export function refuse (request: FastifyRequest, failure: Error): void {
  Object.defineProperty(request, 'session', {
    get () { throw failure },
    set (session: FastifyRequest['session']) { setSession(request, session) },
    configurable: true,
    enumerable: true
  })
}

export function setSession (request: FastifyRequest, value: FastifyRequest['session'] | null): void {
  Object.defineProperty(request, 'session', { value, writable: true, configurable: true, enumerable: true })
}

/** Their handshake is no end of a request, and says nothing about the session. Tests have requests that no parser made. */
export function isUpgrade ({ raw, headers }: FastifyRequest): boolean {
  return (raw as { upgrade?: boolean | null } | undefined)?.upgrade ?? headers?.upgrade !== undefined
}
