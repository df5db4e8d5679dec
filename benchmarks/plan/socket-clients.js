import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { serve } from './children.js'

// Clients of carry.js and people.js: they answer pings and count what comes, and hold no more than that.

const [TEXT, PING, PONG, MASKED] = [1, 9, 0x8a, 0x80]
const AT_ONCE = 50
let messages = 0
/** @type {Set<import('node:net').Socket>} */
const sockets = new Set()

/** Frames of a server are short here, and come whole: of one that is not the next bytes are dropped. @param {import('node:net').Socket} socket @param {Buffer} bytes */
function take (socket, bytes) {
  for (let at = 0; at + 2 <= bytes.length;) {
    const first = bytes.readUInt8(at)
    const length = bytes.readUInt8(at + 1)
    const [head, size] = length === 126 ? [4, at + 4 <= bytes.length ? bytes.readUInt16BE(at + 2) : 0] : [2, length]
    const kind = first & 15
    if (kind === PING) socket.write(Buffer.concat([Buffer.from([PONG, MASKED | size, 0, 0, 0, 0]), bytes.subarray(at + head, at + head + size)]))
    if (kind === TEXT) messages++
    at += head + size
  }
}

/** @param {number} port @param {string} path @returns {Promise<void>} */
const open = (port, path) => new Promise((resolve, reject) => {
  const socket = connect(port, '127.0.0.1')
  socket.once('error', reject)
  socket.once('close', () => sockets.delete(socket))
  socket.write(`GET /api/1/ws/${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`)
  socket.once('data', (head) => {
    if (!head.toString('latin1').startsWith('HTTP/1.1 101')) return reject(new Error(head.toString('latin1', 0, 100)))
    sockets.add(socket)
    socket.on('data', (bytes) => take(socket, bytes))
    take(socket, head.subarray(head.indexOf('\r\n\r\n') + 4))
    resolve()
  })
})

serve({
  /** As many as the machine lets it, of nobody or of the users from `first` on, every `step`th; how many it has then. @param {number} port @param {number} count @param {{ first: number, step: number }} [users] */
  open: async (port, count, users) => {
    let next = 0
    let isFull = false
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (let index = next++; index < count && !isFull; index = next++) await open(port, users === undefined ? 'feed' : `people?user=${users.first + users.step * index}`).catch(() => { isFull = true })
    }))
    return sockets.size
  },
  forget: () => { messages = 0 },
  heard: () => messages
})
