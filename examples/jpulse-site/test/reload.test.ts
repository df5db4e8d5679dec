import { createHmac } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { site, temporaryFolder, waitFor } from '../../../test/helpers/index.ts'
import { load } from '../../../test/helpers/load.ts'
import { ADMIN, PASSWORD } from './helper.ts'
import { LiveSocket } from './socket.ts'
import { ask, session } from './web.ts'

const WORKERS = 4
const REQUESTS = 10_000
const SOCKETS = 200
const USERS = 5
const [OLD, NEW] = ['the old secret of thirty-two signs', 'the new secret of thirty-two signs']

t.setTimeout(400_000)

t.test(`a reload of ${WORKERS} workers under load: no request fails, ${SOCKETS} sockets come back with all they missed, nobody is signed out, and the secret of cookies is a new one`, async (t) => {
  const secrets = join(temporaryFolder(t), 'site.env')
  writeFileSync(secrets, `SESSION_SECRET="${OLD}"`, { mode: 0o600 })
  const { address, home, pm2, output } = await site(t, { workers: WORKERS, env: { ...ADMIN, ENV_FILE: secrets } })
  const pids = async (): Promise<number[]> => JSON.parse(await pm2('jlist')).map(({ pid }: { pid: number }) => pid)
  const admin = await waitFor(() => session(address, '/sign-in', 'admin', PASSWORD), { what: 'the administrator', timeoutMs: 60_000 })
  const cookies = await Promise.all(Array.from({ length: USERS }, (_, n) => session(address, '/sign-up', `user${n}`, PASSWORD)))
  const sockets = Array.from({ length: SOCKETS }, (_, n) => new LiveSocket(t, address, 'hello-todo', cookies[n % USERS]!))
  await waitFor(() => sockets.every((socket) => socket.isOpen), { what: 'all sockets to be open', timeoutMs: 60_000 })

  t.ok(isSigned(admin, OLD))
  writeFileSync(secrets, `SESSION_SECRET="${NEW},${OLD}"`)
  const before = await pids()
  const traffic = load(address, { connections: 20, paths: ['/', ...Array.from({ length: 19 }, () => '/health/live')], cookie: cookies[0]! })
  t.teardown(() => traffic.stop())
  await waitFor(() => traffic.succeeded > 1000, { what: 'the load to flow', timeoutMs: 60_000 })

  let sent = 0
  const reload = { over: false }
  const tick = async () => {
    const { status, text } = await ask(`${address}/api/1/ws/hello-todo/broadcast`, { json: { type: 'tick', data: { n: sent } }, cookie: admin })
    if (status !== 200) throw new Error(`tick ${sent}: ${status} ${text}`)
    sent++
  }
  const ticks = (async () => { while (!reload.over) await tick() })()
  await Promise.race([pm2('reload', 'jpulse-site'), ticks])
  reload.over = true
  await ticks
  const after = await pids()
  await tick()
  const atReload = traffic.succeeded
  await waitFor(() => traffic.succeeded >= Math.max(REQUESTS, atReload + 1000), { what: `${REQUESTS} requests`, timeoutMs: 200_000 })
  await traffic.stop()

  t.same(count(traffic.failures), {}, 'no request failed')
  if (traffic.failures.length > 0) t.comment(output())
  t.equal(after.length, WORKERS)
  t.same(after.filter((pid) => before.includes(pid)), [], 'every worker is a new process')
  t.equal(traffic.workers.size, WORKERS, 'all of them took part')

  await waitFor(() => sockets.every((socket) => socket.isOpen && socket.of('tick').length >= sent), { what: 'every socket to have every message', timeoutMs: 60_000 })
  const wanted = Array.from({ length: sent }, (_, n) => n)
  t.equal(sockets.filter((socket) => socket.of('tick').map(({ n }) => n).join() !== wanted.join()).length, 0, `each of ${sent} messages once and in order, on every socket`)
  t.ok(sockets.every((socket) => socket.recoveries.length > 0), 'each lost its worker')
  t.ok(sockets.every((socket) => socket.recoveries.every(Boolean)), 'and had what it missed')
  t.same([...new Set(sockets.flatMap((socket) => socket.closes))].filter((code) => code !== 1001 && code !== 1006), [], 'the server went away; nobody was thrown out')
  for (const cookie of [admin, ...cookies]) t.match(JSON.parse((await ask(`${address}/api/1/auth/status`, { cookie })).text), { data: { authenticated: true } })
  t.ok(isSigned(await session(address, '/sign-in', 'user0', PASSWORD), NEW), 'as the runbook says, the reload took the new secret')
  await pm2('save')
  t.notMatch(readFileSync(join(home, 'dump.pm2'), 'utf8'), /secret of thirty-two/, 'what PM2 saves knows the name of the file alone')
  t.comment(`${traffic.succeeded} requests, ${atReload} of them until the reload was over; ${sent} messages`)
})

/** Whether a cookie is signed with a secret, as @fastify/cookie does it. */
function isSigned (cookie: string, secret: string): boolean {
  const [value = '', signature] = decodeURIComponent(cookie.slice(cookie.indexOf('=') + 1)).split('.')
  return createHmac('sha256', secret).update(value).digest('base64').replace(/=+$/, '') === signature
}

function count (texts: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const text of texts) counts[text] = (counts[text] ?? 0) + 1
  return counts
}
