import { readRefusal } from './address.ts'
import type { Refusal } from './machine.ts'
import type { ClientOptions, WebSocketLike } from './types.ts'

/** What a socket says. `lost` may come twice. */
export interface SocketEvents {
  opened (): void
  heard (text: string): void
  lost (code: number, reason: string, refusal?: Refusal): void
}

const ABNORMAL = 1006
const MOST_CHARACTERS = 4096

/** Opens a WebSocket. What its class throws is thrown. */
export function openSocket (WebSocket: NonNullable<ClientOptions['WebSocket']>, url: string, protocols: string | string[] | undefined, { opened, heard, lost }: SocketEvents): WebSocketLike {
  const socket = protocols === undefined ? new WebSocket(url) : new WebSocket(url, protocols)
  socket.addEventListener('open', opened)
  socket.addEventListener('message', ({ data }) => heard(String(data)))
  socket.addEventListener('close', ({ code, reason = '' }) => lost(code, reason))
  // In Node 22 no close follows.
  socket.addEventListener('error', ({ message = '' }) => lost(ABNORMAL, message))
  watchRefusal(socket, (refusal) => lost(ABNORMAL, '', refusal))
  return socket
}

/** The class of `ws` shows the answer that came in place of a WebSocket. */
function watchRefusal (socket: WebSocketLike, refused: (refusal: Refusal) => void): void {
  const { on } = socket as { on?: (event: string, listener: (request: unknown, response: any) => void) => void }
  if (typeof on !== 'function') return
  on.call(socket, 'unexpected-response', (_request, response) => {
    let body = ''
    const end = (): void => {
      refused(readRefusal(Number(response.statusCode), body))
      response.destroy()
    }
    response.on('data', (chunk: unknown) => {
      body += String(chunk)
      if (body.length > MOST_CHARACTERS) end()
    })
    response.on('close', end)
  })
}
