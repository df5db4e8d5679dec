import t from 'tap'
import { redisServer, uniqueName, type Scope, type TestRedis } from '../helpers/index.ts'
import { Fleet } from './fleet.ts'
import { mutant, type Mutation } from './mutant.ts'
import { previousRelease, THIS_RELEASE } from './previous-release.ts'
import { clean, Traffic, type Verdict } from './traffic.ts'
import { unlisted } from './wire-page.ts'

const ENV = 'mixed'

const previous = previousRelease()

t.test('instances of this release and of the one before live on one Redis while one after the other is replaced, forwards and back', async (t) => {
  const [redis, site] = [await redisServer(t), uniqueName()]
  const fleet = await Fleet.start(t, redis, site, [previous, previous, previous])
  const traffic = new Traffic(fleet)
  const unknown = new Set<string>()
  await traffic.begin(t, [previous, THIS_RELEASE])
  await traffic.round()
  await look(redis, site, unknown)
  for (const release of [THIS_RELEASE, previous]) {
    for (let index = 0; index < 3; index++) {
      // The first of each direction is killed; the others end in order.
      await Promise.all([fleet.replace(index, release, { kill: index === 0 }), traffic.meanwhile()])
      await traffic.round()
      await look(redis, site, unknown)
    }
  }
  t.strictSame(traffic.end(), clean())
  t.strictSame([...unknown], [], 'docs/wire.md lists every key and channel')
  const { reads, messages, requests, onSockets, bytes } = traffic.asked
  t.ok(reads > 200 && messages > 1000 && requests > 500 && onSockets > 3000 && bytes > 100, `enough was asked: ${JSON.stringify(traffic.asked)}`)
})

t.test('a key or channel that docs/wire.md does not list is seen', async (t) => {
  t.strictSame(unlisted('s:e', ['s:e:kv:a', 's:e:cluster:{s:e}:state', 's:e:cluster:{s:e}:state2'], ['s:e:cache:bus', 's:e:cache:bus2']),
    ['s:e:cluster:{s:e}:state2', 's:e:cache:bus2'])
})

t.test('it is seen when a release changes keys, channels or formats that the one before uses', async (t) => {
  const verdict = await shortRun(t, [previous, mutant(t, [
    ['cluster-broadcast', "'state'", "'log-state'"],
    ['config-cache', "'cache'", "'cache2'"],
    ['redis-link', "'kv'", "'values'"],
    ['ws-namespaces', "'broadcast'", "'all'"]
  ])], [previous])
  t.ok(verdict.notWhole + verdict.lostMessages > 0, 'the log of the cluster has another state')
  t.ok(verdict.staleReads > 0, 'the cache has other keys')
  t.ok(verdict.lostValues > 0, 'values are kept elsewhere')
  t.ok(verdict.lostOnSockets > 0, 'the log of a namespace has another channel')
  t.comment(JSON.stringify(verdict))
})

t.test('it is seen when a release keeps sessions elsewhere', async (t) => {
  const verdict = await shortRun(t, [previous, mutant(t, [['redis-sessions', '`sess$', '`sessions$']])], [])
  t.ok(verdict.signedOut > 0)
  t.ok(verdict.lostFields > 0)
})

t.test('a format changes in two releases: the first reads both, the second writes the new one', async (t) => {
  const reads: Mutation = ['cluster-broadcast', "{ t: 'tell',", "{ t: 'tell', n: 'tell',"]
  const writes: Mutation = ['cluster-broadcast', "? 't' : 'a'", "? 'n' : 'a'"]
  const [first, second] = [mutant(t, [reads]), mutant(t, [reads, writes])]
  t.strictSame(await shortRun(t, [first, second], [THIS_RELEASE]), clean(), 'they live together')
  const verdict = await shortRun(t, [THIS_RELEASE, second], [THIS_RELEASE])
  t.ok(verdict.lostMessages > 0, 'in one release messages would have been lost')
  t.strictSame({ ...verdict, lostMessages: 0 }, clean(), 'but what is unknown is passed over, and hurts nothing else')
})

/** Notes keys and channels that docs/wire.md does not list; those of the test's own database aside. */
async function look (redis: TestRedis, site: string, unknown: Set<string>): Promise<void> {
  const [keys, channels] = await Promise.all([keysOf(redis), redis.client.pubsub('CHANNELS', '*') as Promise<string[]>])
  for (const name of unlisted(`${site}:${ENV}`, keys.filter((key) => !key.startsWith(`${site}:database:`)), channels)) unknown.add(name)
}

async function keysOf (redis: TestRedis): Promise<string[]> {
  const keys: string[] = []
  for await (const some of redis.client.scanStream({ count: 1000 })) keys.push(...some as string[])
  return keys
}

async function shortRun (t: Scope, releases: readonly string[], clientReleases: readonly string[]): Promise<Verdict> {
  const fleet = await Fleet.start(t, await redisServer(t), uniqueName(), releases)
  const traffic = new Traffic(fleet, { patienceMs: 1000 })
  await traffic.begin(t, clientReleases)
  await traffic.round()
  return traffic.end()
}
