import type { FastifyRequest } from 'fastify'

const PREFIX = 'bearer.'

/**
 * The bearer token of a request: that of `Authorization: Bearer`, or, since pages cannot set headers of a WebSocket, that of the
 * subprotocol `bearer.<token>`, which @jpulse/ws-client offers. The token is URL-encoded there. Null where there is none, or an empty one.
 */
export function bearerOf ({ headers }: Pick<FastifyRequest, 'headers'>): string | null {
  const [, given] = /^bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? []
  if (given !== undefined) return given
  const offered = String(headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim())
  const protocol = offered.find((one) => one.startsWith(PREFIX))
  try {
    return decodeURIComponent(protocol?.slice(PREFIX.length) ?? '') || null
  } catch {
    return null
  }
}
