import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import type { Scope } from './scope.ts'

/** Which way bytes go: to the server, to the client. */
export type Direction = 'up' | 'down'

export interface TcpProxy {
  port: number
  /** Connections open now. */
  readonly connections: number
  /** Tells how often the server has said a text since. */
  watch (text: string): () => number
  /** Ends every connection with a reset; new ones are refused until `mend()`. */
  cut (): void
  /** Swallows what goes one way or both, with the connections left open, until `mend()`. New ones are mute as well. */
  mute (direction?: Direction | 'both'): void
  /** Holds every chunk back for so long, both ways. 0 ends it. */
  delay (ms: number): void
  /** Lets no more than so many bytes a second through each connection and way. `Infinity` ends it. */
  throttle (bytesPerSecond: number): void
  /** Ends every connection with a reset, once; new ones work. */
  reset (): void
  /** Works again. Muted connections are reset, because bytes of them are missing. */
  mend (): void
}

/** A TCP proxy on loopback before `target`, to cut, mute or delay the connections of one process. */
export async function tcpProxy (t: Scope, target: number): Promise<TcpProxy> {
  const pairs = new Set<[Socket, Socket]>()
  let isCut = false
  let delayMs = 0
  let bytesPerMs = Infinity
  const muted = { up: false, down: false }
  const watched: Array<{ text: string, count: number }> = []

  const server = createServer((client) => {
    if (isCut) return abort(client)
    const upstream = connect(target, '127.0.0.1')
    const pair: [Socket, Socket] = [client, upstream]
    pairs.add(pair)
    const end = () => {
      pairs.delete(pair)
      pair.forEach(abort)
    }
    for (const socket of pair) socket.setNoDelay().on('error', end).on('close', end)
    pass(client, upstream, 'up')
    pass(upstream, client, 'down')
  })

  function pass (from: Socket, to: Socket, direction: Direction): void {
    from.on('data', (chunk) => {
      if (direction === 'down') for (const one of watched) one.count += chunk.toString('latin1').split(one.text).length - 1
      if (muted[direction]) return
      if (bytesPerMs !== Infinity) {
        from.pause()
        setTimeout(() => from.resume(), chunk.length / bytesPerMs)
      }
      if (delayMs === 0) to.write(chunk)
      else setTimeout(() => { if (!to.destroyed) to.write(chunk) }, delayMs)
    })
  }

  function reset (): void {
    for (const pair of [...pairs]) pair.forEach(abort)
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    reset()
    return new Promise((resolve) => server.close(resolve))
  })
  return {
    port: (server.address() as AddressInfo).port,
    get connections () { return pairs.size },
    watch (text) {
      const one = { text, count: 0 }
      watched.push(one)
      return () => one.count
    },
    reset,
    cut () {
      isCut = true
      reset()
    },
    mute (direction = 'both') {
      if (direction !== 'down') muted.up = true
      if (direction !== 'up') muted.down = true
    },
    delay (ms) { delayMs = ms },
    throttle (bytesPerSecond) { bytesPerMs = bytesPerSecond / 1000 },
    mend () {
      const wasMuted = muted.up || muted.down
      isCut = muted.up = muted.down = false
      delayMs = 0
      bytesPerMs = Infinity
      if (wasMuted) reset()
    }
  }
}

/** Resets a connection. One that is shutting down cannot be reset: with Node 20 its handle would never close, and the process never end. */
function abort (socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else if (!socket.destroyed) socket.resetAndDestroy()
}
