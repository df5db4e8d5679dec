import { Redis } from 'ioredis'
import { instance, url } from './setup.js'

// One process with some members of a cache, which also answer a bare PUBLISH.

const [siteId = '', count = '1'] = process.argv.slice(2)
const apps = await Promise.all(Array.from({ length: Number(count) }, () => instance(siteId)))
for (let i = 0; i < apps.length; i++) {
  const subscriber = new Redis(url)
  const publisher = new Redis(url)
  await subscriber.subscribe(`${siteId}:ask`)
  subscriber.on('message', (_channel, id) => { publisher.publish(`${siteId}:answer`, id) })
}
process.on('disconnect', () => process.exit())
process.send?.('ready')
/** @type {NodeJS.Timeout | undefined} */
let busy
process.on('message', (word) => {
  clearInterval(busy)
  if (word !== 'busy') return
  busy = setInterval(() => {
    const end = performance.now() + 250
    while (performance.now() < end);
  }, 25)
})
