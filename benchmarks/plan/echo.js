import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { options, serve } from './children.js'
import { clock } from './numbers.js'

// Some of the members of a message that all answer, and nothing besides: two bare connections each. See leastOf in members.js.

const { port, here, members } = options()
const ALL = 'all'
const ANSWERS = 'answers'

const connect = async () => {
  const client = new Redis({ port, host: '127.0.0.1', lazyConnect: true })
  await client.connect()
  return client
}

for (let index = 0; index < here; index++) {
  const [subscriber, publisher] = await Promise.all([connect(), connect()])
  subscriber.on('messageBuffer', (_channel, message) => {
    if (message.length > 0) process.nextTick(() => publisher.publish(ANSWERS, message))
  })
  await subscriber.subscribe(ALL)
}

serve({
  /** One message to all, an answer of each, and one more message to all. @param {number} count @param {number} pauseMs @returns {Promise<number[]>} milliseconds */
  round: async (count, pauseMs) => {
    const [subscriber, publisher] = await Promise.all([connect(), connect()])
    let left = 0
    let wake = () => {}
    subscriber.on('messageBuffer', () => { if (--left === 0) wake() })
    await subscriber.subscribe(ANSWERS)
    const times = []
    for (let index = 0; index < count; index++) {
      const begin = clock()
      left = members
      await new Promise((resolve) => {
        wake = () => resolve(undefined)
        publisher.publish(ALL, 'x'.repeat(80))
      })
      await publisher.publish(ALL, '')
      times.push(clock() - begin)
      await sleep(pauseMs)
    }
    return times
  }
})
