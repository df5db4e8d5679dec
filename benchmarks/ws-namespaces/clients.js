import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

// The clients of fan-out.bench.js in a process of their own. They look at no more of a frame than is needed to count it,
// so that what is measured is the servers; one in SAMPLE reads when its messages were sent.

const SAMPLE = 50
/** Centrifugo puts several messages into one frame, with a line feed between them. */
const LINE_FEED = 0x0a
const TEXT = 0x81
/** Of Engine.IO: '0' and '2'. */
const [OPEN, PING] = [0x30, 0x32]
/** What is shorter is no message of the benchmark. */
const SHORTEST = 90
let received = 0
/** @type {number[]} milliseconds */
let latencies = []
/** @type {import('node:net').Socket[]} */
let sockets = []

class Counter {
  /** @type {Buffer} */
  #rest = Buffer.alloc(0)
  #isSample
  #send

  /** @param {boolean} isSample @param {(text: string) => void} send */
  constructor (isSample, send) {
    this.#isSample = isSample
    this.#send = send
  }

  /** @param {Buffer} chunk */
  take (chunk) {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (bytes.length - at >= 2) {
      const short = /** @type {number} */ (bytes[at + 1])
      if (short === 126 && bytes.length - at < 4) break
      const [head, length] = short === 126 ? [4, bytes.readUInt16BE(at + 2)] : [2, short]
      if (bytes.length - at < head + length) break
      if (bytes[at] === TEXT) this.#frame(bytes, at + head, length)
      at += head + length
    }
    this.#rest = bytes.subarray(at)
  }

  /** @param {Buffer} bytes @param {number} at @param {number} length */
  #frame (bytes, at, length) {
    // Socket.IO: open, then connect; ping, pong.
    if (bytes[at] === OPEN) return this.#send('40')
    if (length === 1 && bytes[at] === PING) return this.#send('3')
    // Centrifugo: the same both ways.
    if (length === 2) return this.#send('{}')
    if (length < SHORTEST) return
    received++
    for (let next = bytes.indexOf(LINE_FEED, at); next !== -1 && next < at + length - 1; next = bytes.indexOf(LINE_FEED, next + 1)) received++
    if (!this.#isSample) return
    const text = bytes.toString('latin1', at, at + length)
    for (const [, sent] of text.matchAll(/"t":([\d.]+)/g)) latencies.push(performance.timeOrigin + performance.now() - Number(sent))
  }
}

/** @typedef {{ port: number, paths: string[], hello: string[], path?: string }} Where */

/** @param {Where} where @param {number} index @returns {Promise<void>} */
function open ({ port, paths, path: only, hello = [] }, index) {
  // The other half of the sockets has the other server.
  const path = only ?? paths[Math.floor(index / 2) % paths.length]
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    const counter = new Counter(index % SAMPLE === 0, (text) => socket.write(masked(text)))
    sockets.push(socket)
    socket.on('error', reject)
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`)
    let head = ''
    const onHead = (/** @type {Buffer} */ chunk) => {
      head += chunk.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      if (!head.startsWith('HTTP/1.1 101')) return reject(new Error(head.slice(0, 200)))
      socket.off('data', onHead)
      socket.on('data', (bytes) => counter.take(bytes))
      const rest = Buffer.from(head.slice(end + 4), 'latin1')
      if (rest.length > 0) counter.take(rest)
      for (const text of hello) socket.write(masked(text))
      resolve()
    }
    socket.on('data', onHead)
  })
}

/** A text frame from a client; a mask of zeros changes nothing. @param {string} text */
const masked = (text) => Buffer.concat([Buffer.from([TEXT, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])

/** @type {Record<string, (...args: any[]) => any>} */
const calls = {
  connect: async (/** @type {Where[]} */ servers, /** @type {number} */ count) => {
    for (let first = 0; first < count; first += 50) {
      await Promise.all(Array.from({ length: Math.min(50, count - first) }, (_, index) => open(/** @type {any} */ (servers[(first + index) % servers.length]), first + index)))
    }
    await sleep(500)
    received = 0
    latencies = []
  },
  received: () => received,
  reset: () => {
    received = 0
    latencies = []
  },
  p99: () => latencies.sort((a, b) => a - b)[Math.floor(latencies.length * 0.99)] ?? NaN,
  disconnect: () => {
    for (const socket of sockets) socket.destroy()
    sockets = []
  }
}

process.on('message', async (/** @type {any} */ { id, call, args }) => process.send?.({ id, value: await calls[call]?.(...args) }))
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
