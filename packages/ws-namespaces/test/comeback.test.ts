import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { connect, type Client } from '@jpulse/ws-client'
import t from 'tap'
import { WebSocket } from 'ws'
import { freePort, sharedRedis, waitFor } from '../../../test/helpers/index.ts'
import { servers } from './support/processes.ts'

/** `npm run comeback` has 2000, and looks at how they are spread. */
const CLIENTS = Number(process.env.COMEBACK_CLIENTS ?? 100)
const WINDOW_MS = 2000
const user = (name: string) => class extends WebSocket {
  constructor (url: string) { super(url, { headers: { user: name }, perMessageDeflate: false }) }
}

t.test('all clients of a killed worker come back to another within the window, spread over it, and nothing is lost', { timeout: 180_000 }, async (t) => {
  const [killed, other] = await servers(t, sharedRedis(), 2, { namespaces: { chat: { history: { maxLength: 1000 } } }, options: { reconnectWindowMs: WINDOW_MS } })
  let port = killed!.port
  let killedAt = Infinity
  const [tried, back]: [number[], number[]] = [[], []]
  const heard = new Map<Client, number[]>()
  for (let n = 0; n < CLIENTS; n++) {
    let triedAt: number | undefined
    const client = connect(() => {
      if (killedAt < Infinity && triedAt === undefined) tried.push(triedAt = performance.now() - killedAt)
      return `ws://127.0.0.1:${port}/api/1/ws/chat`
    }, {
      WebSocket: user(`user-${n}`) as never,
      onStatus: (status) => { if (status === 'connected' && killedAt < Infinity) back.push(performance.now() - killedAt) }
    })
    t.teardown(() => client.close())
    heard.set(client, [])
    client.on('n', (data) => { heard.get(client)!.push(data) })
    if (n % 50 === 49) await client.ready
  }
  await Promise.all([...heard.keys()].map(({ ready }) => ready))
  await other!.call('publish', 'chat', 'broadcast', '', 1)
  await waitFor(() => [...heard.values()].every(({ length }) => length === 1), { timeoutMs: 60_000 })
  port = other!.port
  killedAt = performance.now()
  killed!.kill('SIGKILL')
  await other!.call('publish', 'chat', 'broadcast', '', 2)
  await waitFor(() => back.length === CLIENTS, { what: 'all to be back', timeoutMs: 60_000 })
  await other!.call('publish', 'chat', 'broadcast', '', 3)
  await waitFor(() => [...heard.values()].every(({ length }) => length === 3), { timeoutMs: 60_000 })
  t.ok([...heard.values()].every((numbers) => numbers.join() === '1,2,3'))

  const busiest = (times: number[]) => Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + 100).length)) / CLIENTS
  const [share, backShare] = [busiest(tried), busiest(back)]
  t.comment(`${CLIENTS} clients: the busiest 100 ms hold ${(100 * share).toFixed(1)}% of their attempts and ${(100 * backShare).toFixed(1)}% of their connections; the last is back after ${Math.round(Math.max(...back))} ms`)
  if (CLIENTS >= 1000) t.ok(share < 0.15)
})

t.test('a server that stands still, one that refuses, one that resets a handshake: connected again, and nothing is lost', async (t) => {
  const [one, other] = await servers(t, sharedRedis(), 2, { namespaces: { chat: { history: {} } }, options: { pingIntervalMs: 200, pongTimeoutMs: 300, reconnectWindowMs: 100 } })
  const resetting = createServer((socket) => { socket.once('data', () => socket.resetAndDestroy()).on('error', () => {}) }).listen(0, '127.0.0.1')
  await once(resetting, 'listening')
  t.teardown(() => resetting.close())
  let [port, attempts] = [one!.port, 0]
  const reasons: Array<string | undefined> = []
  const heard: number[] = []
  const client = connect(() => {
    attempts++
    return `ws://127.0.0.1:${port}/api/1/ws/chat`
  }, { WebSocket: user('ann') as never, connectTimeoutMs: 300, maxDelayMs: 200, onStatus: (_status, { reason }) => { reasons.push(reason) } })
  t.teardown(() => client.close())
  client.on('n', (data) => { heard.push(data) })
  await client.ready
  const say = () => other!.call('publish', 'chat', 'broadcast', '', heard.length + 1)
  const hears = (count: number) => waitFor(() => heard.length === count && client.status === 'connected', { what: `${count} messages`, timeoutMs: 30_000 })

  one!.kill('SIGSTOP')
  await waitFor(() => client.status === 'reconnecting', { timeoutMs: 30_000 })
  t.match(reasons.at(-1), /not heard/)
  await say()
  // The kernel takes connections of a process that stands still: the handshake has to end by itself.
  const before = attempts
  await waitFor(() => attempts > before + 1, { timeoutMs: 30_000 })
  one!.kill('SIGCONT')
  await hears(1)

  for (const [index, gone] of [await freePort(), (resetting.address() as AddressInfo).port].entries()) {
    port = gone
    await one!.call('disconnect', 'chat', 'ann', 1001)
    const before = attempts
    await waitFor(() => attempts > before + 1, { timeoutMs: 30_000 })
    await say()
    port = one!.port
    await hears(2 + index)
  }
  t.same(heard, [1, 2, 3])
})
