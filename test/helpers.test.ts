import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readFileSync } from 'node:fs'
import { connect as tcpConnect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { onPath } from '../scripts/servers/binaries.js'
import { connect, freePort, mongo, redisCluster, redisServer, sentinel, tcpProxy, waitFor, workers } from './helpers/index.ts'

const isAlive = (pid: number) => {
  try { return process.kill(pid, 0) } catch { return false }
}

t.test('redisServer: data survive a kill and a restart, and are gone after an empty one', async (t) => {
  const redis = await redisServer(t)
  const client = redis.connect()
  await client.set('a', '1')
  const pid = redis.pid
  await redis.kill()
  t.notOk(isAlive(pid))
  await redis.restart()
  await waitFor(async () => await client.get('a') === '1')
  await redis.restart({ empty: true })
  await waitFor(async () => await client.get('a') === null)
})

t.test('redisServer: a frozen server answers again after the thaw', async (t) => {
  const redis = await redisServer(t)
  const client = redis.connect()
  await client.ping()
  redis.freeze()
  const answer = client.ping()
  t.equal(await Promise.race([answer, once(tcpConnect(redis.port, '127.0.0.1'), 'connect').then(() => 'connected')]), 'connected')
  redis.thaw()
  t.equal(await answer, 'PONG')
})

t.test('redisCluster: six nodes serve every slot, and a killed primary is replaced', async (t) => {
  const cluster = await redisCluster(t)
  t.equal(cluster.nodes.length, 6)
  const primary = await cluster.primaryOf('key')
  t.equal((await cluster.primaries()).length, 3)
  t.ok((await cluster.primaries()).includes(primary))
  await primary.kill()
  await waitFor(async () => await cluster.primaryOf('key') !== primary, { timeoutMs: 20_000 })
  await cluster.complete()
  await primary.restart()
  await cluster.complete()
})

t.test('sentinel: a killed primary is replaced', async (t) => {
  const watched = await sentinel(t)
  if (onPath('redis-cli') === undefined) t.comment('there is no redis-cli here for the commands of the runbook and the checklist')
  else {
    const cli = async (...args: string[]) => (await promisify(execFile)('redis-cli', ['-p', String(watched.sentinels[0]!.port), 'sentinel', ...args])).stdout
    const { port } = await watched.primary()
    t.equal(await cli('get-master-addr-by-name', watched.name), `127.0.0.1\n${port}\n`)
    t.equal(await cli('failover', watched.name), 'OK\n')
    await waitFor(async () => (await watched.primary()).port !== port, { what: 'the failover', timeoutMs: 20_000 })
    await watched.settled()
  }
  const old = await watched.primary()
  await old.client.set('a', '1')
  await old.kill()
  const next = await waitFor(async () => {
    const now = await watched.primary()
    return now !== old && now
  }, { timeoutMs: 20_000 })
  await waitFor(async () => ((await next.client.call('ROLE')) as unknown[])[0] === 'master')
})

t.test('mongo: each test has a database of its own', async (t) => {
  const [one, other] = [await mongo(t), await mongo(t)]
  await one.db.collection('a').insertOne({ x: 1 })
  t.equal(await one.db.collection('a').countDocuments(), 1)
  t.equal(await other.db.collection('a').countDocuments(), 0)
})

t.test('tcpProxy: passes, mutes, cuts and mends', async (t) => {
  const redis = await redisServer(t)
  const proxy = await tcpProxy(t, redis.port)
  const client = connect(t, proxy.port)
  client.options.commandTimeout = 200
  t.equal(await client.ping(), 'PONG')

  proxy.mute('down')
  await t.rejects(client.incr('n'), /timed out/)
  t.equal(await redis.connect().get('n'), '1', 'what went up arrived, only the answer did not')
  proxy.mend()
  await waitFor(async () => await client.ping() === 'PONG')

  proxy.mute('up')
  await t.rejects(client.incr('n'), /timed out/)
  t.equal(await redis.connect().get('n'), '1', 'nothing went up')
  proxy.mend()

  proxy.cut()
  await waitFor(() => client.status !== 'ready')
  t.equal(proxy.connections, 0)
  proxy.mend()
  await waitFor(async () => await client.ping() === 'PONG')
})

t.test('workers: answer calls, hand over errors, and say so when they end', async (t) => {
  const [one, other] = await workers(t, 2, new URL('fixtures/echo-worker.js', import.meta.url))
  t.same(await one!.call('echo', { a: [1, undefined, new Date(0)] }), { a: [1, undefined, new Date(0)] })
  await t.rejects(one!.call('fail'), { message: 'as asked', code: 'E_ASKED' })
  await t.rejects(other!.call('exit', 3), /ended \(3\)/)
  one!.kill('SIGKILL')
  t.equal(await one!.exited, null)
})

t.test('a server goes when its test crashes', async (t) => {
  const script = fileURLToPath(new URL('fixtures/crashing-test.js', import.meta.url))
  const output = await promisify(execFile)(process.execPath, [script]).then(({ stdout }) => stdout, (err) => err.stdout as string)
  const pid = Number(output)
  t.ok(pid > 1)
  await waitFor(() => !isAlive(pid))
})

t.test('a process that does nothing but wait for the build of the MongoDB wire server waits for it', async (t) => {
  const bin = t.testdir({ go: '#!/bin/sh\nsleep 0.2\nprintf built > "$3"\n' })
  chmodSync(join(bin, 'go'), 0o755)
  const source = `import { mongoWireBinary } from ${JSON.stringify(new URL('../scripts/servers/binaries.js', import.meta.url).href)}; console.log(await mongoWireBinary(() => {}))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', source], { env: { ...process.env, PATH: `${bin}:/usr/bin:/bin`, XDG_CACHE_HOME: bin } })
  t.equal(readFileSync(stdout.trim(), 'utf8'), 'built')
})

t.test('freePort: nobody listens there', async (t) => {
  const port = await freePort()
  const server = createServer().listen(port, '127.0.0.1')
  await once(server, 'listening')
  t.equal((server.address() as AddressInfo).port, port)
  server.close()
})

t.test('waitFor: gives up after its time and says what it waited for', async (t) => {
  await t.rejects(waitFor(() => false, { timeoutMs: 20, what: 'nothing' }), /waited 20 ms in vain for nothing/)
  t.equal(await waitFor(() => 0), 0)
})
