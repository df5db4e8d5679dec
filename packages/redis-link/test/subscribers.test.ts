import t from 'tap'
import { redisCluster, tcpProxy, waitFor, type TestCluster } from '../../../test/helpers/index.ts'
import { build } from './build.ts'

const addressesOf = ({ nodes }: TestCluster) => nodes.map(({ port }) => ({ host: '127.0.0.1', port }))

/** Ports of the servers that somebody hears a channel on. */
async function heardOn (cluster: TestCluster, channel: string): Promise<number[]> {
  const counts = await Promise.all(cluster.nodes.map(({ client }) => client.call('PUBSUB', 'NUMSUB', channel) as Promise<[string, number]>))
  return cluster.nodes.filter((_node, index) => counts[index]![1] > 0).map(({ port }) => port)
}

/** Moves the slot of a key, which must hold no key, to another primary. */
async function moveSlot (cluster: TestCluster, key: string): Promise<number> {
  const from = await cluster.primaryOf(key)
  const primaries = await cluster.primaries()
  const to = primaries.find((one) => one !== from)!
  const slot = String(await from.client.call('CLUSTER', 'KEYSLOT', key))
  const [fromId, toId] = await Promise.all([from, to].map(({ client }) => client.call('CLUSTER', 'MYID') as Promise<string>)) as [string, string]
  await to.client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId)
  await from.client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId)
  await to.client.call('CLUSTER', 'SETSLOT', slot, 'NODE', toId)
  for (const { client } of primaries) await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', toId)
  return to.port
}

t.test('a subscriber that follows its key to another server misses nothing meanwhile, and hears nothing twice', async (t) => {
  const cluster = await redisCluster(t)
  const { app } = await build(t, { cluster: { nodes: addressesOf(cluster) }, connectTimeoutMs: 10_000, probeIntervalMs: 100 })
  const link = app.redisLink
  const subscriber = link.subscriber('foo')!
  const told: string[] = []
  for (const event of ['down', 'gap', 'up'] as const) subscriber.on(event, () => told.push(event))
  const heard: Record<string, number[]> = { near: [], far: [], 'a pattern': [] }
  await subscriber.subscribe(link.channel('near'), (message) => { heard.near!.push(Number(message)) })
  await subscriber.subscribe(link.channel('far'), (message) => { heard.far!.push(Number(message)) })
  await subscriber.psubscribe(link.channel('n*'), (message) => { heard['a pattern']!.push(Number(message)) })
  await waitFor(() => subscriber.isUp)
  told.length = 0

  const over = new AbortController()
  const stream = async (publish: (number: number) => Promise<unknown>): Promise<number> => {
    let number = 0
    for (; !over.signal.aborted; number++) await publish(number)
    return number
  }
  // By way of its key as the suite publishes, and by a server that has nothing to do with the move.
  const far = (await cluster.primaryOf('foobar')).client
  const streams = Promise.all([
    stream((number) => link.publishNear('foo', [[link.channel('near'), String(number)]])),
    stream((number) => far.publish(link.channel('far'), String(number)))
  ])
  for (let move = 0; move < 3; move++) {
    const to = await moveSlot(cluster, 'foo')
    await waitFor(async () => (await heardOn(cluster, link.channel('near'))).join() === String(to), { timeoutMs: 30_000, what: 'the subscriber to follow its key' })
    const late = await subscriber.subscribe(link.channel('late'), () => {})
    t.same(await heardOn(cluster, link.channel('late')), [to])
    await late()
    t.same(await heardOn(cluster, link.channel('late')), [])
  }
  over.abort()
  const [near, afar] = await streams
  await waitFor(() => heard.near!.at(-1) === near - 1 && heard.far!.at(-1) === afar - 1 && heard['a pattern']!.at(-1) === near - 1)
  const counting = (count: number) => Array.from({ length: count }, (_value, number) => number)
  for (const [what, numbers] of Object.entries(heard)) {
    const expected = counting(what === 'far' ? afar : near)
    t.same(missing(expected, numbers), [], `${what}: none is missing of ${expected.length}`)
    t.equal(numbers.length, new Set(numbers).size, `${what}: none came twice`)
    t.ok(numbers.every((number, at) => at === 0 || number > numbers[at - 1]!), `${what}: in order`)
  }
  t.same(told, [], 'nobody is told of a loss')
})

const missing = (expected: number[], numbers: number[]) => {
  const have = new Set(numbers)
  return expected.filter((number) => !have.has(number))
}

t.test('subscribers that were asked for while the Cluster was away are what they would have been, when it is there', async (t) => {
  const cluster = await redisCluster(t)
  const proxy = await tcpProxy(t, cluster.nodes[0]!.port)
  proxy.cut()
  const { app } = await build(t, { cluster: { nodes: [{ host: '127.0.0.1', port: proxy.port }] }, connectTimeoutMs: 100 })
  const link = app.redisLink
  // The slots of these are 12182, 5061 and 866; the first of them is on the last primary, and the others on the first.
  const [foo, bar, hello] = ['foo', 'bar', '{hello}'].map((key) => link.subscriber(key)!)
  const heard: string[] = []
  const listen = async (name: string, subscriber = foo!) => subscriber.subscribe(link.channel(name), (message) => { heard.push(`${name} ${message}`) })
  await Promise.all([listen('foo', foo), listen('bar', bar), listen('hello', hello)])
  const [ended, glob] = await Promise.all([listen('ended', hello), hello!.psubscribe(link.channel('glob*'), () => { heard.push('glob') })])
  await ended()
  const ups: boolean[] = []
  hello!.on('up', ({ gap }) => ups.push(gap))
  t.notOk(foo!.isUp || bar!.isUp || hello!.isUp)

  proxy.mend()
  await waitFor(() => link.isUp && foo!.isUp && bar!.isUp && hello!.isUp, { timeoutMs: 20_000 })
  const homes = await Promise.all(['foo', 'bar'].map((key) => cluster.primaryOf(key)))
  t.not(homes[0], homes[1])
  await waitFor(async () => {
    const on = await Promise.all(['foo', 'bar', 'hello'].map((name) => heardOn(cluster, link.channel(name))))
    return on.join(' ') === `${homes[0]!.port} ${homes[1]!.port} ${homes[1]!.port}`
  }, { timeoutMs: 20_000, what: 'each to be heard on the server of its key' })
  t.same(await heardOn(cluster, link.channel('ended')), [])
  t.same(ups, [false], 'told once, and of no loss')
  const connections = await Promise.all(cluster.nodes.map(async ({ client }) => (await client.call('CLIENT', 'LIST', 'TYPE', 'pubsub') as string).split('\n').filter((line) => / psub=\d+ /.test(line) && !/ name=ioredis-cluster/.test(line)).length))
  t.equal(connections.reduce((sum, count) => sum + count), 2, 'one for each primary')
  t.equal(hello!.connection, bar!.connection)

  for (const name of ['foo', 'bar', 'hello', 'glob1']) await link.publishNear('x', [[link.channel(name), '1']])
  await waitFor(() => heard.length === 4)
  t.same(heard.toSorted(), ['bar 1', 'foo 1', 'glob', 'hello 1'])
  await glob()
  t.equal(await homes[1]!.client.call('PUBSUB', 'NUMPAT'), 0)
})
