import { makePeer } from './peer.js'

// A process that counts what it hears and how late. argv: peer, url, channel.
const [kind = '', url = '', channel = ''] = process.argv.slice(2)
const peer = await makePeer(kind, url)
/** @type {number[]} */
let delays = []
let count = 0
let expected = 0

/** @param {{ n: number, at?: number }} data */
function handle (data) {
  count++
  // The monotonic clock of a machine is one for all its processes.
  if (data.at !== undefined) delays.push(Number(process.hrtime.bigint()) / 1e6 - data.at)
  if (count === expected) process.send?.({ delays })
}

await peer.subscribe(channel, handle)
await peer.subscribe('bench:ask', () => {})
process.on('message', (/** @type {{ expect: number }} */ { expect }) => {
  count = 0
  delays = []
  expected = expect
  process.send?.({ armed: true })
})
process.on('disconnect', () => process.exit())
process.send?.({ ready: true })
