import type { AddressInfo } from 'node:net'
import { clusterBroadcast } from '@jpulse/cluster-broadcast'
import { redisLink } from '@jpulse/redis-link'
import { connect as connectClient, type Status, type StatusDetail } from '@jpulse/ws-client'
import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import { WebSocket } from 'ws'
import { waitFor, type Scope } from '../../../test/helpers/index.ts'
import { bearerOf, wsNamespaces } from '../src/index.ts'
import { connect } from './support/client.ts'

/** With characters that a subprotocol may not hold. */
const tokenOf = (user: string, number: number): string => `${user}:${number}:a.b-c_(d) e/+=`

/** An application that says who brings a token is, and logs all it can. Each token holds for `holdsMs` from its first use. */
async function start (t: Scope, holdsMs: number) {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  app.register(redisLink)
  app.register(clusterBroadcast)
  app.register(wsNamespaces)
  await app.ready()
  const counts = { opened: 0, renewed: 0 }
  const who = (token: string | null) => token?.includes('a.b-c_') === true ? { userId: token.split(':')[0]!, expiresAt: new Date(Date.now() + holdsMs), token: token.split(':')[1] } : null
  app.wsNamespaces.create('chat', {
    authorize: (request) => who(bearerOf(request)),
    renew: (_conn, token) => {
      if (token.startsWith('thrown')) throw Object.assign(new Error('no such token'), { statusCode: 401 })
      counts.renewed++
      return who(token)
    },
    onConnect: () => { counts.opened++ },
    onMessage: (conn) => conn.ctx
  })
  app.wsNamespaces.create('seconds', { authorize: () => ({ userId: 'u', expiresAt: Math.floor(Date.now() / 1000) + 60 }) })
  app.wsNamespaces.create('over', { authorize: () => ({ userId: 'u', expiresAt: Date.now() - 1 }) })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, lines, counts, port: (app.server.address() as AddressInfo).port }
}

t.test('a client renews its authorisation on the open connection, and its token is in no log', async (t) => {
  const { port, lines, counts } = await start(t, 1000)
  let asked = 0
  const told: Array<[Status, StatusDetail]> = []
  const client = connectClient(`ws://127.0.0.1:${port}/api/1/ws/chat`, {
    WebSocket: WebSocket as never,
    token: async () => tokenOf('ann', ++asked),
    onStatus: (...turn) => { told.push(turn) }
  })
  t.teardown(() => client.close())
  t.type((await client.ready).expiresAt, 'number')
  await waitFor(() => counts.renewed >= 3, { timeoutMs: 30_000 })
  t.same(told, [['connected', {}]])
  t.equal(counts.opened, 1)
  t.match(await client.request('who'), { userId: 'ann', token: /^[^1]/ }, 'ctx is what renew returned')

  const page = await fetch(`http://127.0.0.1:${port}/api/1/ws/chat`, { headers: { authorization: 'Bearer ann:0:a.b-c_' } })
  t.equal(page.status, 426, 'a plain request passes the same checks')
  client.close()
  t.ok(lines.length > 3, 'the log is not empty')
  for (const line of lines) t.notMatch(decodeURIComponent(line.replaceAll('%', '%25')), /a\.b-c_/, 'no token')
})

t.test('who does not renew is told, and closed with 4401', async (t) => {
  const { port, counts } = await start(t, 1500)
  const silent = await connect(t, port, '/api/1/ws/chat', { headers: { authorization: 'Bearer ann:1:a.b-c_' } })
  const [{ expiresAt }] = await silent.wait('connection:expiring')
  t.equal(expiresAt, silent.connected.expiresAt)
  for (const data of [tokenOf('eve', 1), 'garbage', 'thrown', { token: tokenOf('ann', 1) }, undefined, 'x'.repeat(20_000)]) {
    silent.send({ type: 'connection:renew', data, id: 'r' })
  }
  t.same(await silent.end(), { code: 4401, reason: 'authorization expired' })
  t.same(silent.errors, [...Array(6).fill('RENEWAL_REFUSED'), 'AUTHORIZATION_EXPIRED'])

  // The client asks for a token once more; where that lets nobody in, it is over.
  let good = true
  const told: Array<[Status, StatusDetail]> = []
  const errors: string[] = []
  const client = connectClient(`ws://127.0.0.1:${port}/api/1/ws/chat`, {
    WebSocket: WebSocket as never,
    token: () => good ? tokenOf('bo', 1) : 'garbage',
    onStatus: (...turn) => { told.push(turn) },
    maxDelayMs: 100
  })
  t.teardown(() => client.close())
  client.on('error', (_data, { error }) => { errors.push(error!.code) })
  await client.ready
  good = false
  await waitFor(() => client.status === 'auth-required', { timeoutMs: 30_000 })
  t.match(told, [['connected', {}], ['reconnecting', { code: 4401, reason: 'authorization expired' }], ['auth-required', { httpStatus: 401 }]])
  t.ok(errors.includes('RENEWAL_REFUSED') && errors.at(-1) === 'AUTHORIZATION_EXPIRED')
  t.ok(counts.renewed > 1)
})

t.test('an end that lies in the past lets nobody in, and one in seconds is an error of the application', async (t) => {
  const { port, lines } = await start(t, 1000)
  t.equal((await connect(t, port, '/api/1/ws/over')).refused?.status, 401)
  t.equal((await connect(t, port, '/api/1/ws/seconds')).refused?.status, 500)
  t.ok(lines.some((line) => line.includes('milliseconds since 1970')))
})

t.test('the token of a request', async (t) => {
  const of = (headers: Record<string, string>) => bearerOf({ headers } as unknown as FastifyRequest)
  t.equal(of({}), null)
  t.equal(of({ authorization: 'Basic abc' }), null)
  t.equal(of({ authorization: 'bearer  abc.def' }), 'abc.def')
  t.equal(of({ 'sec-websocket-protocol': 'jpulse, bearer.a%20b' }), 'a b')
  t.equal(of({ 'sec-websocket-protocol': 'bearer.%' }), null)
  t.equal(of({ 'sec-websocket-protocol': 'jpulse, bearer.' }), null)
  t.equal(of({ 'sec-websocket-protocol': 'jpulse' }), null)
})
