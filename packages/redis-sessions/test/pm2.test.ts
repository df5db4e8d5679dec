import { get, request } from 'node:http'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { cleanEnv } from '../../../scripts/bootstrap.js'
import { runCluster } from '../../../scripts/site/run-site.js'
import { freePort, sharedRedis, temporaryFolder, uniqueName, waitFor } from '../../../test/helpers/index.ts'

const WORKERS = 4

interface Answer { worker: string, cookie: string | undefined, body: { pid: number, userId?: string | null } }

t.test('under PM2: a login on one worker is known on each other one, outlives a restart of all, and ends on all at once', async (t) => {
  const dir = join(temporaryFolder(t), 'run')
  mkdirSync(dir)
  const env = { ...cleanEnv(), PORT: String(await freePort()), SITE: uniqueName(), REDIS_URL: sharedRedis() }
  const running = await runCluster({
    env,
    log: join(dir, 'log'),
    home: join(dir, 'pm2'),
    instances: WORKERS,
    ecosystem: fileURLToPath(new URL('fixtures/pm2.config.cjs', import.meta.url)),
    app: 'sessions'
  })
  t.teardown(() => running.stop())
  await running.ready(AbortSignal.timeout(120_000))

  const ask = async (method: 'GET' | 'POST', path: string, cookie = ''): Promise<Answer> => {
    // A connection each, because PM2 hands out connections, not requests.
    const outgoing = method === 'GET' ? get(running.address + path, { agent: false, headers: { cookie } }) : request(running.address + path, { agent: false, method, headers: { cookie } }).end()
    const [response] = await once(outgoing, 'response')
    const body = (await response.setEncoding('utf8').toArray()).join('')
    return { worker: response.headers['x-worker'], cookie: response.headers['set-cookie']?.[0]?.split(';')[0], body: JSON.parse(body) }
  }
  /** What each worker says of the cookie. */
  const everywhere = async (cookie: string): Promise<Map<string, Answer>> => {
    const seen = new Map<string, Answer>()
    return waitFor(async () => {
      const answer = await ask('GET', '/me', cookie)
      return seen.set(answer.worker, answer).size === WORKERS && seen
    }, { what: 'every worker to answer', timeoutMs: 60_000, everyMs: 1 })
  }
  const users = (answers: Map<string, Answer>) => [...answers.values()].map(({ body }) => body.userId)

  const mine = (await ask('POST', '/login/ann')).cookie!
  const other = (await ask('POST', '/login/ann')).cookie!
  const foreign = (await ask('POST', '/login/bob')).cookie!
  const before = await everywhere(mine)
  t.same(users(before), Array(WORKERS).fill('ann'))

  await running.pm2('restart', 'sessions')
  const pids = new Set([...before.values()].map(({ body }) => body.pid))
  await waitFor(async () => [...(await everywhere(mine)).values()].every(({ body }) => !pids.has(body.pid)), { what: 'every worker to be another process', timeoutMs: 60_000 })
  t.same(users(await everywhere(mine)), Array(WORKERS).fill('ann'), 'still logged in')

  await ask('POST', '/logout-all/ann', other)
  t.same(users(await everywhere(mine)), Array(WORKERS).fill(null), 'refused everywhere')
  t.same(users(await everywhere(other)), Array(WORKERS).fill(null))
  t.same(users(await everywhere(foreign)), Array(WORKERS).fill('bob'), "another user's is not")
})
