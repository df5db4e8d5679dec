import { EventEmitter } from 'node:events'
import Fastify from 'fastify'
import { clusterBroadcast } from '@jpulse/cluster-broadcast'
import { redisLink, type RedisLink, type Subscriber } from '@jpulse/redis-link'
import t, { type Test } from 'tap'
import { connect, redisServer, sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import type { Delivery, Place } from '../src/delivery/carrier.ts'
import { Listener } from '../src/delivery/listener.ts'
import { LogCarrier } from '../src/delivery/log-carrier.ts'
import { MemoryLog } from '../src/delivery/memory-carrier.ts'

const HISTORY = { id: '', maxLength: 200, maxAgeMs: 60_000, stateMs: 600_000, markEvery: 1000 }

/** The subscriber of a link, deaf when the test says so. */
class Ear extends EventEmitter {
  #isDeaf = false
  readonly #subscriber: Subscriber

  constructor (subscriber: Subscriber) {
    super()
    this.#subscriber = subscriber
    subscriber.on('up', () => { if (!this.#isDeaf) this.emit('up') })
  }

  get isUp (): boolean {
    return !this.#isDeaf && this.#subscriber.isUp
  }

  async subscribe (channel: string, listener: (bytes: Buffer) => void): Promise<() => Promise<void>> {
    return this.#subscriber.subscribe(channel, (bytes) => { if (!this.#isDeaf) listener(bytes) })
  }

  down (): void {
    this.#isDeaf = true
  }

  up (): void {
    this.#isDeaf = false
    if (this.isUp) this.emit('up')
  }
}

interface One {
  ear: Ear
  carrier: LogCarrier
  link: RedisLink
  /** What clients of this process got, and where it stood. */
  got: unknown[]
  places: Array<Place | null>
  publish (...numbers: number[]): Promise<string[]>
}

const message = (data: unknown): Delivery => ({ topic: 'broadcast', json: JSON.stringify(data), bytes: null, except: '', volatile: false })

/** One process' side of a namespace's log. */
async function one (t: Test, url: string, siteId: string, { waitMs = 60_000 } = {}): Promise<One> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(redisLink, { url, siteId, env: 'test' })
  const link = app.redisLink
  await waitFor(() => link.isUp)
  const ear = new Ear(link.subscriber()!)
  Object.defineProperty(link, 'subscriber', { value: () => ear })
  await app.register(clusterBroadcast)
  const { bootId } = app.appCluster
  const got: unknown[] = []
  const places: Array<Place | null> = []
  const carrier = new LogCarrier('chat', { bus: app.appCluster.internal('ws'), link, listener: new Listener(app.log), bootId, waitMs, log: app.log }, HISTORY, {
    deliver: ({ json }, place) => {
      got.push(JSON.parse(json).n)
      places.push(place)
    },
    mark: () => {}
  })
  t.teardown(() => carrier.close())
  await carrier.listen('broadcast').ready
  await carrier.open(null)
  return { ear, carrier, link, got, places, publish: (...numbers) => Promise.all(numbers.map((n) => carrier.publish(message({ n })))) }
}

t.test('a message that is given up does not hide one that Redis has and that was not heard yet', async (t) => {
  const redis = await redisServer(t)
  const { ear, carrier, got, publish } = await one(t, redis.url, uniqueName(), { waitMs: 0 })
  ear.down()
  t.same(await publish(1, 2), ['cluster', 'cluster'])
  await redis.kill()
  t.same(await publish(3), ['local'])
  t.same(got, [3])
  await redis.restart()
  ear.up()
  await waitFor(() => got.length === 3, { timeoutMs: 30_000 })
  t.same(got, [3, 1, 2])
  t.equal(carrier.gaps, 0)
})

t.test('more messages than may wait: the oldest are given up, so that clients here get all, in order, once', async (t) => {
  const siteId = uniqueName()
  const [here, there] = [await one(t, sharedRedis(), siteId), await one(t, sharedRedis(), siteId)]
  const mib = 1024 * 1024
  const delivered = await Promise.all([30, 1, 1, 1, 1].map((size, index) => here.carrier.publish(message({ n: index + 1, text: 'x'.repeat(size * mib) }))))
  t.same(delivered, ['local', 'cluster', 'cluster', 'cluster', 'cluster'])
  await here.publish(6)
  await waitFor(() => here.got.includes(6) && there.got.includes(6), { timeoutMs: 30_000 })
  t.same(here.got, [1, 2, 3, 4, 5, 6])
  t.same(there.got, [2, 3, 4, 5, 6])
})

/** Takes what Redis has of a namespace's log; returns a function that puts it back, as a failover that lost the end does. */
async function snapshot (t: Test, { link }: One): Promise<() => Promise<void>> {
  const client = connect(t, Number(new URL(sharedRedis()).port))
  const keys = [link.key('ws', 'state', '{chat}'), link.key('ws', 'log', '{chat}')] as const
  const [state, log] = [(await client.dumpBuffer(keys[0]))!, (await client.dumpBuffer(keys[1]))!]
  return async () => { await client.multi().restore(keys[0], 0, state, 'REPLACE').restore(keys[1], 0, log, 'REPLACE').exec() }
}

/** Where the process stands, as a client that is connected to it. */
const offsetOf = ({ places }: One): string => {
  const place = places.at(-1)!
  return `${place.epoch}.${place.seq}`
}

/** Two processes that got three messages, and what takes the log back to there. */
async function three (t: Test): Promise<{ here: One, there: One, goBack: () => Promise<void> }> {
  const siteId = uniqueName()
  const [here, there] = [await one(t, sharedRedis(), siteId), await one(t, sharedRedis(), siteId)]
  await here.publish(1, 2)
  await there.publish(3)
  await waitFor(() => here.got.length === 3 && there.got.length === 3)
  return { here, there, goBack: await snapshot(t, here) }
}

t.test('a log that went back and grew beyond again, by who knows it: what is new comes, once; who resumes is told', async (t) => {
  const { here, there, goBack } = await three(t)
  await here.publish(4, 5)
  await waitFor(() => here.got.length === 5 && there.got.length === 5)
  const offset = offsetOf(here)
  here.ear.down()
  await goBack()
  await here.publish(6)
  await there.publish(7)
  await here.publish(8)
  here.ear.up()
  await waitFor(() => here.got.includes(8) && there.got.includes(8))
  t.same([here.got, there.got], [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8]])
  t.same([here.carrier.gaps, there.carrier.gaps], [1, 1])
  t.equal((await there.carrier.open(offset)).recovered, false)
  await there.publish(9)
  await waitFor(() => here.got.includes(9) && there.got.includes(9))
  t.same([here.got.length, there.got.length], [9, 9])
  const { recovered, missed } = await here.carrier.open(offsetOf(there).replace(/\d+$/, (seq) => String(Number(seq) - 1)))
  t.same([recovered, missed.map(({ json }) => json)], [true, ['{"n":9}']], 'recovery goes on')
})

t.test('a log that went back and grew beyond again, by who does not know it: who reads on notices', async (t) => {
  const { here, there, goBack } = await three(t)
  there.ear.down()
  await here.publish(4)
  await here.publish(5)
  await waitFor(() => here.got.length === 5)
  const offset = offsetOf(here)
  here.ear.down()
  await goBack()
  for (const n of [6, 7, 8]) await there.publish(n)
  here.ear.up()
  await waitFor(() => here.got.includes(8))
  t.same(here.got, [1, 2, 3, 4, 5, 6, 7, 8])
  t.equal(here.carrier.gaps, 1)
  t.equal((await there.carrier.open(offset)).recovered, false)
  there.ear.up()
  await waitFor(() => there.got.includes(8))
  await here.publish(9)
  await waitFor(() => here.got.includes(9) && there.got.includes(9))
  t.same([here.got, there.got], [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 6, 7, 8, 9]])
})

t.test('a log that went back, read before anything is added: a gap, and who resumes is told', async (t) => {
  const here = await one(t, sharedRedis(), uniqueName())
  await here.publish(1)
  const goBack = await snapshot(t, here)
  await here.publish(2, 3)
  await waitFor(() => here.got.length === 3)
  const offset = offsetOf(here)
  here.ear.down()
  await goBack()
  here.ear.up()
  await waitFor(() => here.carrier.gaps === 1)
  t.equal((await here.carrier.open(offset)).recovered, false)
  await here.publish(4)
  await waitFor(() => here.got.includes(4))
  t.same([here.got, here.carrier.gaps], [[1, 2, 3, 4], 1])
})

t.test('the log of a process is bounded by bytes too, of JSON and of data: what fell out is not called recovered', async (t) => {
  const MIB = new Uint8Array(1024 * 1024)
  for (const [what, large] of [['bytes', { ...message(1), bytes: MIB }], ['JSON', message('x'.repeat(MIB.length - 2))]] as Array<[string, Delivery]>) {
    const log = new MemoryLog(HISTORY)
    const offsets = Array.from({ length: 40 }, () => {
      const { epoch, seq } = log.append(large)
      return `${epoch}.${seq}`
    })
    const missed = offsets.map((offset) => log.open(offset)).map(({ recovered, missed }) => recovered ? missed.length : null)
    const most = Math.max(...missed.map(Number))
    t.ok(most === 31 || most === 32, `${what}: ${most} MiB`)
    t.same(missed, offsets.map((_, index) => 39 - index <= most ? 39 - index : null), 'and what is left is whole')
    for (let n = 0; n < 100; n++) log.append(message(n))
    t.equal(log.open(offsets.at(-1)!).missed.length, 100, 'small ones take the room of large ones')
  }
})
