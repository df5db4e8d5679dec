import { Redis } from 'ioredis'
import { peers } from './peer.js'

// A member that answers asks, and PUBLISHes over bare ioredis. argv: url.
const [url = ''] = process.argv.slice(2)
const { app } = await /** @type {NonNullable<typeof peers[string]>} */ (peers.on)(url)
await app?.appCluster.broadcast.subscribe('bench:ask', () => 'yes')
const [client, subscriber] = [new Redis(url), new Redis(url)]
await subscriber.subscribe('bare:ask')
subscriber.on('message', () => { client.publish('bare:answers', 'yes').catch(() => {}) })
process.on('disconnect', () => process.exit())
process.send?.({ ready: true })
