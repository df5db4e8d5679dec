import t from 'tap'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { connect, type Client } from './support/client.ts'
import { servers } from './support/processes.ts'

const NAMESPACES = 20
const USERS = 50
const MESSAGES = 10_000
const ROOMS = ['red', 'a:b', '100%', 'ü @']

type Sent = [namespace: string, kind: 'broadcast' | 'user' | 'room', target: string, n: number]

/** Each namespace has every user once, on a worker of its own choosing, in two rooms of four. */
t.test('20 namespaces × 50 users × 3 workers × 10,000 messages: each exactly where it belongs', async (t) => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
  t.comment(`SEED=${seed}`)
  const random = generator(seed)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  // Half with history, half without; one is made of a pattern.
  const names = Array.from({ length: NAMESPACES }, (_, index) => index === 0 ? 'rooms/a:b' : index === 1 ? 'rooms/100%' : index === 2 ? 'rooms/ü @' : `n${index}`)
  const namespaces = Object.fromEntries(names.map((name, index) => [name.startsWith('rooms/') ? 'rooms/:id' : name,
    { history: index % 2 === 1 || name.startsWith('rooms/') ? { maxLength: 1000 } : false }]))
  const three = await servers(t, sharedRedis(), 3, { siteId: uniqueName('iso'), namespaces })
  const clients: Array<{ namespace: string, user: string, rooms: string[], client: Client }> = []
  await Promise.all(names.map(async (namespace) => {
    for (let first = 0; first < USERS; first += 10) {
      await Promise.all(Array.from({ length: 10 }, async (_, index) => {
        const user = `user:${first + index} %`
        const rooms = [pick(ROOMS), pick(ROOMS)]
        const path = `/api/1/ws/${namespace.split('/').map(encodeURIComponent).join('/')}`
        const client = await connect(t, pick(three).port, path, { user, headers: { rooms: rooms.map(encodeURIComponent).join(',') } })
        clients.push({ namespace, user, rooms, client })
      }))
    }
  }))
  t.equal(clients.length, NAMESPACES * USERS)
  const sent: Sent[] = Array.from({ length: MESSAGES }, (_, n) => {
    // Mostly to users and rooms: each broadcast makes fifty deliveries.
    const kind = n % 10 === 0 ? 'broadcast' : n % 10 < 6 ? 'user' : 'room'
    return [pick(names), kind, kind === 'user' ? `user:${Math.floor(random() * USERS)} %` : kind === 'room' ? pick(ROOMS) : '', n]
  })
  const from = new Map<number, number>()
  await Promise.all(three.map(async (worker, index) => {
    const own = sent.filter(([,,, n]) => n % 3 === index)
    for (const [,,, n] of own) from.set(n, index)
    for (let first = 0; first < own.length; first += 500) {
      const delivered = await worker.call<string[]>('publishAll', own.slice(first, first + 500))
      if (!delivered.every((where) => where === 'cluster')) t.fail(`batch ${first} of worker ${index} did not reach the cluster`)
    }
  }))
  const expected = (one: typeof clients[number]) => sent.filter(([namespace, kind, target]) => namespace === one.namespace &&
    (kind === 'broadcast' || (kind === 'user' ? target === one.user : one.rooms.includes(target)))).map(([,,, n]) => n)
  const wrong: string[] = []
  let deliveries = 0
  for (const one of clients) {
    const wanted = expected(one)
    deliveries += wanted.length
    await waitFor(() => one.client.messages.length >= wanted.length, { timeoutMs: 60_000, what: `${wanted.length} messages for ${one.user} of ${one.namespace}` })
  }
  t.comment(`${deliveries} deliveries`)
  // What comes behind all others tells that nothing else is on its way.
  for (const worker of three) for (const name of names) await worker.call('publish', name, 'broadcast', '', null, 'end')
  for (const { client } of clients) await client.wait('end', 3)
  for (const one of clients) {
    const got = one.client.of('n') as number[]
    if (String([...got].sort((a, b) => a - b)) !== String(expected(one))) wrong.push(`${one.namespace} ${one.user}: not what belongs there`)
    for (const worker of [0, 1, 2]) {
      const own = got.filter((n) => from.get(n) === worker)
      if (own.some((n, index) => index > 0 && n < own[index - 1]!)) wrong.push(`${one.namespace} ${one.user}: out of its publisher's order`)
    }
  }
  t.same(wrong, [])
  const withHistory = clients.filter(({ namespace }) => namespace === 'n3')
  const orders = new Set(withHistory.map(({ client }) => String(client.messages.filter(({ offset }) => offset !== undefined)
    .map(({ offset }) => Number(offset!.split('.')[1])).every((seq, index, all) => index === 0 || seq > all[index - 1]!))))
  t.same([...orders], ['true'], 'with history everybody sees the order of the log')
})

function generator (seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
