import { readRefusal } from './address.ts'
import { ABNORMAL, type Refusal } from './machine.ts'
import type { ClientOptions, WebSocketLike } from './types.ts'

/** Tells that it stands, and of its end, perhaps twice. */
type Tell = (...event: [type: 'opened'] | [type: 'lost', code: number, reason?: string, refusal?: Refusal]) => void

/** Opens a WebSocket. What its class throws is thrown. */
export function openSocket (WebSocket: NonNullable<ClientOptions['WebSocket']>, url: string, protocols: string[], heard: (data: any) => void, tell: Tell): WebSocketLike {
  const socket = new WebSocket(url, protocols)
  socket.binaryType = 'arraybuffer'
  socket.addEventListener('open', () => tell('opened'))
  socket.addEventListener('message', ({ data }) => heard(data))
  socket.addEventListener('close', ({ code, reason = '' }) => tell('lost', code, reason))
  // In Node 22 no close follows.
  socket.addEventListener('error', ({ message }) => tell('lost', ABNORMAL, message))
  // The class of `ws` shows the answer that came in place of a WebSocket.
  ;(socket as { on?: (event: string, listener: (request: unknown, response: any) => void) => void }).on?.('unexpected-response', (_request, response) => {
    // A refusal of a server of namespaces comes in one piece; what is told after it is stale.
    const end = (body?: unknown): void => {
      tell('lost', ABNORMAL, '', readRefusal(response.statusCode, String(body), response.headers['retry-after']))
      response.destroy()
    }
    response.on('data', end)
    response.on('close', end)
  })
  return socket
}
