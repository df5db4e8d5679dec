import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { mongoWireBinary, onPath } from '../scripts/servers/binaries.js'
import { temporaryFolder, waitFor } from './helpers/index.ts'
import { NPM_START, nothingIsLeft, page, serverPorts, start, visits, workersOf, type Started } from './helpers/npm-start.ts'

t.setTimeout(240_000)

const startJs = (started: Started) => Number(/^(\d+) \S*node \S*scripts\/start\.js$/m.exec(started.alive().join('\n'))?.[1])
const sign = ({ address }: Started, name: string) => fetch(`${address}/api/1/guestbook`, {
  method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name, message: 'was here' })
})

/** The cookie of the administrator's session; null while there is no such account yet. */
async function signIn ({ address }: Started, password: string): Promise<string | null> {
  const response = await fetch(`${address}/api/1/auth/login`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: 'admin', password })
  })
  return response.status === 200 ? response.headers.get('set-cookie')!.split(';')[0]! : null
}

async function me ({ address }: Started, cookie: string): Promise<string> {
  return (await fetch(`${address}/api/1/auth/status`, { headers: { cookie } })).text()
}

/** The environment of a machine on which MongoDB has to be built first, and how to let the build end. */
async function slowBuild (t: Test): Promise<{ env: Record<string, string>, end: () => void }> {
  const built = onPath('mongod', 'ferretdb') === undefined ? await mongoWireBinary(() => {}) : undefined
  if (built === undefined) return { env: {}, end: () => {} }
  const folder = temporaryFolder(t)
  mkdirSync(join(folder, 'bin'))
  writeFileSync(join(folder, 'bin/go'), `#!/bin/sh\nwhile [ ! -e '${folder}/end' ]; do sleep 0.1; done\ncp '${built}' "$3"\n`, { mode: 0o755 })
  return { env: { XDG_CACHE_HOME: join(folder, 'cache'), PATH: `${folder}/bin:${process.env.PATH}` }, end: () => writeFileSync(join(folder, 'end'), '') }
}

t.test('npm start serves the site from two PM2 workers on servers of its own, also while MongoDB is still to be built; Ctrl-C leaves nothing but the data, which the next run has', async (t) => {
  const dir = temporaryFolder(t)
  const build = await slowBuild(t)
  const first = await start(t, dir, { command: NPM_START, env: { SEED_PEOPLE: '300', ...build.env } })
  await first.ready(60_000)
  t.same(await workersOf(first, 2), ['025:0', '025:1'])
  t.equal((await fetch(first.address)).status, 200)
  if (build.env.PATH !== undefined) t.match(first.output(), 'MongoDB is being prepared')
  build.end()
  await waitFor(async () => (await sign(first, 'Ada')).status === 201, { what: 'MongoDB', timeoutMs: 60_000 })
  t.equal(serverPorts(first).length, 2, 'a Redis and a MongoDB of its own')
  const [, password = ''] = /Administrator: admin, password (\S+) \(shown once/.exec(first.output()) ?? []
  const cookie = await waitFor(() => signIn(first, password), { what: 'the administrator', timeoutMs: 60_000 })
  await waitFor(async () => (await page(first, '/api/1/analytics/performance')).includes('"people":300,'), { what: 'the people of the listing', timeoutMs: 120_000, everyMs: 500 })
  const before = await visits(first)

  const second = await start(t, dir, { env: { SERVER_ID: '026' } })
  await second.ready(60_000)
  t.same(await workersOf(second, 2), ['026:0', '026:1'], 'a second one in the checkout is a second server of the same site')
  t.equal(await visits(second), before + 1)
  process.kill(second.pid, 'SIGINT')
  t.equal(await second.exited, 0)
  await nothingIsLeft(t, second)
  t.equal((await fetch(`${first.address}/health`)).status, 200, 'the first still has its servers')

  // The terminal tells the whole group, and npm tells its child once more.
  process.kill(-first.pid, 'SIGINT')
  await first.exited
  await nothingIsLeft(t, first)

  const again = await start(t, dir)
  await again.ready(60_000)
  t.equal(await visits(again), before + 2, 'Redis kept the counter')
  t.match(await me(again, cookie), '"username":"admin"', 'and nobody was signed out')
  t.notMatch(again.output(), password, 'the password was shown once')
  t.match(await page(again), '<strong>Ada</strong>', 'MongoDB kept the guest book')
  process.kill(again.pid, 'SIGTERM')
  t.equal(await again.exited, 0)
  await nothingIsLeft(t, again)
})

t.test('npm start, killed: nothing survives, and the next run starts', async (t) => {
  const dir = temporaryFolder(t)
  const killed = await start(t, dir)
  await killed.ready(60_000)
  process.kill(killed.pid, 'SIGKILL')
  await nothingIsLeft(t, killed)

  const npm = await start(t, dir, { command: NPM_START })
  await npm.ready(60_000)
  process.kill(npm.pid, 'SIGKILL')
  await nothingIsLeft(t, npm)

  const child = await start(t, dir, { command: NPM_START })
  await child.ready(60_000)
  process.kill(startJs(child), 'SIGTERM')
  await nothingIsLeft(t, child)
})

t.test('EMBEDDED=1 npm start runs one process, no server and no daemon, whatever servers are configured', async (t) => {
  const started = await start(t, temporaryFolder(t), {
    command: NPM_START,
    env: { EMBEDDED: '1', REDIS_URL: process.env.REDIS_URL, MONGODB_URI: process.env.MONGODB_URI }
  })
  await started.ready(30_000)
  t.match(started.output(), 'Embedded mode: one process, no Redis, no MongoDB.')
  t.same(await workersOf(started, 1), ['025:0'])
  const commands = started.alive().join('\n')
  t.match(commands, 'jpulse-site/dist/server.js')
  t.notMatch(commands, /pm2|redis-server|valkey|mongo|ferretdb/)
  for (const path of ['/', '/users', '/analytics/', '/hello-app-cluster/', '/hello-websocket/', '/docs', '/sign-in', '/health']) t.equal((await fetch(started.address + path)).status, 200, path)
  t.equal((await sign(started, 'Ada')).status, 201)
  process.kill(started.pid, 'SIGTERM')
  await started.exited
  await nothingIsLeft(t, started)
})

t.test('where servers can be neither found nor provided the site runs embedded and says how to get them', async (t) => {
  const started = await start(t, temporaryFolder(t), { env: { PATH: '/nowhere' } })
  await started.ready(30_000)
  t.match(started.output(), 'Redis was not found and cannot be provided here. Install redis-server or valkey-server, or set REDIS_URL.')
  t.match(started.output(), 'Embedded mode: one process')
  t.equal((await fetch(started.address)).status, 200)
  process.kill(started.pid, 'SIGTERM')
  t.equal(await started.exited, 0)
  await nothingIsLeft(t, started)
})

t.test('a signal while npm start still prepares ends it at once', async (t) => {
  const started = await start(t, temporaryFolder(t))
  await waitFor(() => started.alive().some((command) => command.includes('prepare.js')))
  process.kill(started.pid, 'SIGTERM')
  await started.exited
  await nothingIsLeft(t, started)
})

t.test('an address that cannot be had, or a variable that makes no sense, ends npm start with 1 and one clear line', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const taken = (server.address() as AddressInfo).port
  const cases: readonly [env: Record<string, string>, message: string][] = [
    [{ PORT: String(taken) }, `Port ${taken} is in use.`],
    [{ PORT: 'abc' }, 'PORT must be a whole number from 0 to 65535, not "abc"'],
    [{ INSTANCES: 'many' }, 'INSTANCES must be a whole number from 1 to 999, not "many"'],
    [{ SITE_ID: 'a:b' }, 'SITE_ID must be up to 32 lower-case letters, digits, dashes and underscores, not "a:b"'],
    [{ HOST: '203.0.113.7' }, 'HOST 203.0.113.7']
  ]
  for (const [env, message] of cases) {
    const started = await start(t, temporaryFolder(t), { env })
    t.equal(await started.exited, 1, message)
    t.match(started.output(), message)
    t.notMatch(started.output(), / at .*\.js:\d/, 'no stack')
    t.same(started.alive(), [])
  }
})
