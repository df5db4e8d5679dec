import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { freePort, waitFor, type Scope } from '../../../test/helpers/index.ts'

t.setTimeout(240_000)

const SERVER = fileURLToPath(new URL('../dist/server.js', import.meta.url))

interface Server { child: ChildProcess, port: number, exited: Promise<number | null>, output: () => string }

/** The built server as a child process, as PM2 runs it: with a channel for messages. */
async function start (t: Scope, env: Record<string, string> = {}, args: readonly string[] = []): Promise<Server> {
  const port = await freePort()
  const { REDIS_URL: _redis, MONGODB_URI: _mongo, ...inherited } = process.env
  const child = spawn(process.execPath, [SERVER, ...args], {
    env: { ...inherited, PORT: String(port), LOG_LEVEL: 'warn', ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc']
  })
  let output = ''
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => { output += chunk })
  const exited = once(child, 'close').then(([status]) => status as number | null)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  return { child, port, exited, output: () => output }
}

async function ready ({ child }: Server): Promise<void> {
  const [message] = await once(child, 'message')
  if (message !== 'ready') throw new Error(`said ${message}`)
}

/** A client that has asked once and keeps its connection open, idle. */
async function idleClient (t: Scope, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  socket.write('GET /health/live HTTP/1.1\r\nhost: site\r\n\r\n')
  await once(socket, 'data')
  return socket
}

/** Waits until the server has stopped accepting. */
function refused (port: number): Promise<true> {
  return waitFor(() => new Promise<boolean>((resolve) => {
    const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(false) })
    socket.once('error', () => resolve(true))
  }))
}

t.test('the server says ready when it answers, and SIGTERM or SIGINT end it with 0', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const server = await start(t)
    await ready(server)
    t.equal((await fetch(`http://127.0.0.1:${server.port}/health`)).status, 200)
    server.child.kill(signal)
    t.equal(await server.exited, 0, signal)
  }
})

/**
 * What came of a drain that was to be interrupted, with time to spare, before it ends by itself after three seconds. On
 * a machine that stalled for that long it says nothing about the server, and is done again.
 */
async function inTime<T> (attempt: () => Promise<{ outcome: T, tookMs: number }>): Promise<T> {
  for (let n = 0; n < 5; n++) {
    const { outcome, tookMs } = await attempt()
    if (tookMs < 2500) return outcome
  }
  throw new Error('five drains took as long as one that nothing interrupts')
}

t.test("PM2's shutdown message ends it with 0, and the signal that may follow is not a second one", async (t) => {
  const { answer, server } = await inTime(async () => {
    const server = await start(t)
    await ready(server)
    const client = await idleClient(t, server.port)
    const answered = Promise.race([once(client, 'data').then(String, () => 'an error'), once(client, 'close').then(() => 'nothing')])
    const began = performance.now()
    server.child.send('shutdown')
    await refused(server.port)
    server.child.kill('SIGINT')
    client.write('GET / HTTP/1.1\r\nhost: site\r\n\r\n')
    const answer = await answered
    return { outcome: { answer, server }, tookMs: performance.now() - began }
  })
  t.match(answer, /^HTTP\/1\.1 200 [^]*connection: close/, 'an open connection is still answered')
  t.equal(await server.exited, 0)
})

t.test('an idle client does not keep it', async (t) => {
  const server = await start(t)
  await ready(server)
  await idleClient(t, server.port)
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)
})

t.test('a second SIGTERM ends it at once', async (t) => {
  const outcome = await inTime(async () => {
    const server = await start(t)
    await ready(server)
    const client = await idleClient(t, server.port)
    const began = performance.now()
    server.child.kill('SIGTERM')
    await refused(server.port)
    const waits = !client.closed
    server.child.kill('SIGTERM')
    return { outcome: { waits, status: await server.exited }, tookMs: performance.now() - began }
  })
  t.same(outcome, { waits: true, status: 1 }, 'it waited for its client until then')
})

t.test('Ctrl-C under npm, of which the server is told twice, is one; another one later ends it at once', async (t) => {
  const { answer, server } = await inTime(async () => {
    const server = await start(t, { LOG_LEVEL: 'info' })
    await ready(server)
    const client = await idleClient(t, server.port)
    const answered = Promise.race([once(client, 'data').then(String, () => 'an error'), once(client, 'close').then(() => 'nothing')])
    const began = performance.now()
    server.child.kill('SIGINT')
    await waitFor(() => server.output().includes('draining'))
    server.child.kill('SIGINT')
    // On a machine that stalled in between they are two.
    const apartMs = performance.now() - began
    await refused(server.port)
    client.write('GET / HTTP/1.1\r\nhost: site\r\n\r\n')
    const answer = await answered
    return { outcome: { answer, server }, tookMs: apartMs > 800 ? Infinity : performance.now() - began }
  })
  t.match(answer, /^HTTP\/1\.1 200 [^]*connection: close/, 'it drains')
  t.equal(await server.exited, 0)

  const stuck = await start(t)
  await ready(stuck)
  await idleClient(t, stuck.port)
  const [began, answers] = [performance.now(), setInterval(() => stuck.child.kill('SIGINT'), 100)]
  t.teardown(() => clearInterval(answers))
  t.equal(await stuck.exited, 1, 'who goes on pressing it is heard after a second')
  t.ok(performance.now() - began < 10_000)
})

t.test('a token for metrics is in no line of the log, whether right or wrong', async (t) => {
  const server = await start(t, { LOG_LEVEL: 'trace', METRICS_TOKEN: 'hunter2-0123456789' })
  await ready(server)
  const ask = async (path: string, token: string) => (await fetch(`http://127.0.0.1:${server.port}${path}`, { headers: { authorization: `Bearer ${token}` } })).status
  t.equal(await ask('/metrics', 'hunter2-0123456789'), 200)
  t.equal(await ask('/metrics', 'hunter2-9876543210'), 401)
  // Scrapes are not logged; a scraper that is sent to a page is.
  t.equal(await ask('/', 'hunter2-0123456789'), 200)
  server.child.kill('SIGTERM')
  await server.exited
  t.match(server.output(), '"url":"/"', 'requests are logged')
  t.notMatch(server.output(), 'hunter2')
})

t.test('a configuration that makes no sense ends it with 78 and one line, without secrets', async (t) => {
  const cases: readonly [name: string, value: string, line: RegExp][] = [
    ['PORT', 'abc', /^PORT must be a whole number from 0 to 65535, not "abc"\n$/],
    ['HOST', '203.0.113.9', /^HOST must be an address or a name of this machine, not "203\.0\.113\.9"\n$/],
    ['MONGODB_URI', 'mongodb://u:hunter2@host:port', /^MONGODB_URI (?!.*hunter2).+\n$/],
    ['LOG_FILE', '/nowhere/site.log', /^LOG_FILE names "\/nowhere\/site\.log", which cannot be written \(ENOENT\)\n$/],
    ['METRICS_TOKEN', 'hunter2', /^METRICS_TOKEN (?!.*hunter2).+\n$/],
    ['REDIS_URL', 'redis://:hunter2@host:port', /^REDIS_URL (?!.*hunter2).+\n$/],
    ['REDIS_URL', 'redis://:hunter%2@host', /^REDIS_URL (?!.*hunter).+\n$/]
  ]
  for (const [name, value, line] of cases) {
    // As it is asked before PM2 starts, or replaces the workers that serve.
    for (const args of [[], ['--check']]) {
      const server = await start(t, { [name]: value }, args)
      t.equal(await server.exited, 78, `${name} ${args}`)
      t.match(server.output(), line)
    }
  }
  t.equal(await (await start(t, {}, ['--check'])).exited, 0)
})
