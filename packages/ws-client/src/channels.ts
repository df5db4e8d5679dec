import type { Frame } from './handlers.ts'
import { ABNORMAL } from './machine.ts'
import { join, type Payload } from './payload.ts'
import type { ClientOptions } from './types.ts'

/** The namespaces on one socket. Each is a WebSocket to its client: one that opens when the socket does. */
export interface Channels {
  readonly WebSocket: NonNullable<ClientOptions['WebSocket']>
  /** The socket stands, or broke. */
  turn (up: boolean): void
  /** Calls back when it stands: who is away because it broke comes back with it, and not after a pause of its own. Returns what ends it. */
  onUp (callback: () => void): () => void
  /** False where it is not a socket of several. */
  heard (frame: Frame): boolean
}

/** Begins the address of a namespace on a socket: of a scheme that is none, so that no URL takes `.` and `..` out of a name. */
export const SHARED = 's:-'

interface Channel {
  /** Its number. */
  channel: number
  open (): void
  /** Tells its client of an event. */
  emit (type: string, event?: object): void
}

/** No deadlines here: the server answers each `open` in time, and the liveness of the socket is that of its namespaces. */
export function createChannels (push: (payload: Payload) => boolean): Channels {
  const byId = new Map<unknown, Channel>()
  const risers = new Set<() => void>()
  let isUp = false
  let lastId = 0

  return {
    WebSocket: function (url: string, protocols: string[]) {
      const id = ++lastId
      const tell = (type: string, rest?: object): boolean => push(JSON.stringify({ type, id, ...rest }))
      const listeners: Record<string, (event?: object) => void> = {}
      const channel = {
        channel: NaN,
        readyState: 1,
        addEventListener (type: string, listener: () => void) { listeners[type] = listener },
        send: (payload: Payload) => push(join(`${channel.channel}`, payload)),
        close: () => byId.delete(id) && tell('close'),
        open: () => tell('open', { path: url.slice(SHARED.length), protocols }),
        // Every client of ours listens to every event.
        emit: (type: string, event?: object) => listeners[type]!(event)
      }
      byId.set(id, channel)
      if (isUp) channel.open()
      return channel
    } as unknown as Channels['WebSocket'],
    turn (up) {
      byId.forEach((channel) => up ? channel.open() : isUp && channel.emit('close', { code: ABNORMAL }))
      isUp = up
      if (up) risers.forEach((callback) => callback())
    },
    onUp (callback) {
      risers.add(callback)
      return () => risers.delete(callback)
    },
    heard (frame) {
      const { type, id, channel } = frame
      const asked = byId.get(id)
      if (type === 'opened' && asked) asked.channel = channel!
      byId.forEach((one) => one.channel === channel && one.emit(one === asked ? 'open' : 'message', { data: frame }))
      if (type === 'closed') asked?.emit('close', frame)
      return isUp
    }
  }
}
