import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { ConnectionError } from 'fastify'

/**
 * Answers what is no HTTP at all, or has longer headers than Node takes, before there is a request that a hook or a handler could see.
 *
 * @param told who answers, and the `code` of the envelope
 */
export function answerClientError (err: ConnectionError, socket: Socket, { worker, code }: { worker: string, code: string }): void {
  if (err.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const statusCode = err.code === 'HPE_HEADER_OVERFLOW' ? 431 : err.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400
  const error = STATUS_CODES[statusCode] ?? ''
  const body = JSON.stringify({ success: false, error, code, statusCode })
  socket.end(`HTTP/1.1 ${statusCode} ${error}\r\nX-Worker: ${worker}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`)
  // A client that does not close would keep its socket: a server ends half of it only.
  socket.destroySoon()
}
