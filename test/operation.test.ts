import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, createServer as createTcpServer, type AddressInfo, type Server } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { ask, fromAll, session } from '../examples/jpulse-site/test/web.ts'
import { LiveSocket } from '../examples/jpulse-site/test/socket.ts'
import { ROOT } from '../scripts/bootstrap.js'
import { answers } from '../scripts/site/answers.js'
import { nginxBinary } from '../scripts/servers/binaries.js'
import { firstLine, spawnGuarded } from '../scripts/servers/guarded.js'
import { freePort, site, temporaryFolder, waitFor, type Scope } from './helpers/index.ts'
import { load } from './helpers/load.ts'

t.setTimeout(240_000)

const PASSWORD = 'correct horse battery'
const [OLD, NEW] = ['the old secret of thirty-two signs', 'the new secret of thirty-two signs']
const run = promisify(execFile)

/** nginx with deploy/nginx.conf, on a port of its own, before servers of the test; `changes` shorten its times, `files` is how many whoever starts it may have open. */
async function nginx (t: Scope, servers: readonly string[], changes: ReadonlyArray<readonly [string, string]> = [], files?: number) {
  const binary = nginxBinary(() => {})
  if (binary === undefined) throw new Error('nginx was not found and cannot be provided: apt-get install nginx')
  const folder = temporaryFolder(t)
  for (const name of ['logs', 'temp']) mkdirSync(join(folder, name))
  const port = await freePort()
  const written = ([
    ...['app-1', 'app-2', 'app-3'].map((name, n) => [`server ${name}:3000`, `server ${servers[n % servers.length]}`] as const),
    ['listen 80;', `listen 127.0.0.1:${port};`],
    ['worker_processes auto;', 'worker_processes 1;'],
    ['/var/log/nginx/access.log', 'logs/access.log'],
    ['http {', `http {\n${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path temp/${name};`).join('\n')}`],
    ...changes
  ] as const).reduce((conf, [from, to]) => {
    if (!conf.includes(from)) throw new Error(`nginx.conf has no "${from}"`)
    return conf.replace(from, to)
  }, readFileSync(join(ROOT, 'deploy/nginx.conf'), 'utf8'))
  const conf = join(folder, 'nginx.conf')
  writeFileSync(conf, `daemon off;\npid ${folder}/nginx.pid;\n${process.getuid?.() === 0 ? 'user root;\n' : ''}${written}`)
  const args = ['-p', folder, '-c', conf, '-e', 'logs/error.log']
  const [command, given] = files === undefined ? [binary, args] : ['/bin/sh', ['-c', `ulimit -Sn ${files} && exec "$0" "$@"`, binary, ...args]]
  const server = await spawnGuarded(command, given, { log: join(folder, 'logs/out.log') })
  t.teardown(() => server.stop('SIGTERM'))
  const address = `http://127.0.0.1:${port}`
  await waitFor(() => reaches(port), { what: 'nginx' })
  return {
    address,
    port,
    log: () => readFileSync(join(folder, 'logs/access.log'), 'utf8'),
    reload: () => run(binary, [...args, '-s', 'reload']),
    /** Pids of its workers. */
    workers: () => readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8').trim().split(' ')
  }
}

const reaches = (port: number) => new Promise<boolean>((resolve) => {
  const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true) })
  socket.once('error', () => resolve(false))
})

/** A command of a document, which has to have it. */
function documented (document: string, command: string): string {
  if (!readFileSync(join(ROOT, `docs/${document}.md`), 'utf8').includes(command)) throw new Error(`docs/${document}.md has no ${command}`)
  return command
}

/** What a server says to bytes as they are. */
async function raw (port: number, lines: readonly string[]): Promise<string> {
  // Not half closed: to nginx that is a client who has gone.
  const socket = connect(port, '127.0.0.1').setEncoding('latin1')
  socket.write([...lines, '', ''].join('\r\n'))
  let said = ''
  socket.on('data', (chunk) => { said += chunk })
  await waitFor(() => said.includes('\r\n\r\n'), { what: 'an answer', timeoutMs: 30_000 }).finally(() => socket.destroy())
  return said
}

t.test('two PM2 workers behind nginx.conf: what proxies break works, a dead worker costs what it had in hand, and the commands of the runbook do what they say', async (t) => {
  const { address, pm2, shell, home } = await site(t, {
    env: { ADMIN_USERNAME: 'admin', ADMIN_EMAIL: 'admin@example.org', ADMIN_PASSWORD: PASSWORD, SESSION_SECRET: OLD, TRUST_PROXY: '127.0.0.1' }
  })
  const proxy = await nginx(t, [address.slice('http://'.length)], [
    ['worker_shutdown_timeout 10m', 'worker_shutdown_timeout 1s'],
    // All three are one server here, which a worker that dies must not close to everybody.
    ...Array.from({ length: 3 }, () => ['max_fails=2', 'max_fails=0'] as const)
  ])
  const cookie = await waitFor(() => session(proxy.address, '/sign-in', 'admin', PASSWORD), { what: 'the administrator', timeoutMs: 60_000 })

  await t.test('requests', async (t) => {
    const offer = ['Host: x', 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA']
    t.match(await raw(proxy.port, ['GET /health/live HTTP/1.1', ...offer, 'Connection: close']), /^HTTP\/1.1 200 /, 'h2c is an offer, not a wish')
    const upgrade = ['Host: x', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==']
    t.match(await raw(proxy.port, ['GET / HTTP/1.1', ...upgrade]), /^HTTP\/1.1 200 /, 'a page is no WebSocket')
    t.match(await raw(proxy.port, ['GET /api/1/ws/hello-todo HTTP/1.1', ...upgrade]), /^HTTP\/1.1 401 /)
    const gzip = (url: string) => fetch(proxy.address + url, { headers: { 'accept-encoding': 'gzip' } })
    const [file, page] = [await gzip('/assets/site.css'), await gzip('/')]
    t.equal(file.headers.get('content-encoding'), 'gzip')
    t.equal(page.headers.get('content-encoding'), null, 'what holds a token is not compressed')
    t.equal((await fetch(`${proxy.address}/metrics`)).status, 404)
    t.equal((await fetch(`${proxy.address}/api/1/metrics`)).status, 200, 'which is the site itself')
    const { status } = await ask(`${proxy.address}/api/1/auth/login`, { json: { username: 'admin' } })
    t.equal(status, 400)
    await Promise.all([file.text(), page.text()])
    // nginx writes a line when the answer has left.
    await waitFor(() => /^127\.0\.0\.1 \[\S+\] "POST \/api\/1\/auth\/login HTTP\/1\.1" 400 \d+ \S+ [0-9a-f]{32} 127\.0\.0\.1:\d+ 400$/m.test(proxy.log()), { what: 'a line that names the request and who answered it' })
  })

  await t.test('nginx reload with open sockets: the old workers go, and the sockets come back with what they missed', async (t) => {
    const socket = new LiveSocket(t, proxy.address, 'hello-todo', cookie)
    await waitFor(() => socket.isOpen, { what: 'the socket' })
    const [old] = proxy.workers()
    await proxy.reload()
    await waitFor(() => !proxy.workers().includes(old!), { what: 'the old worker to go', timeoutMs: 20_000 })
    await waitFor(() => socket.recoveries.length > 0 && socket.isOpen, { what: 'the socket to be back', timeoutMs: 20_000 })
    t.same(socket.recoveries, [true])
  })

  await t.test('a worker that dies under load: nothing fails but what it had in hand', async (t) => {
    const traffic = load(proxy.address, { connections: 8, paths: ['/health/live'] })
    t.teardown(() => traffic.stop())
    await waitFor(() => traffic.succeeded > 200, { what: 'the load to flow', timeoutMs: 60_000 })
    const [first] = JSON.parse(await pm2('jlist')) as Array<{ pid: number }>
    process.kill(first!.pid, 'SIGKILL')
    const at = traffic.succeeded
    await waitFor(() => traffic.succeeded > at + 400, { what: 'the load to go on', timeoutMs: 60_000 })
    await traffic.stop()
    t.ok(traffic.failures.length <= 8, traffic.failures.join())
    t.equal((await answers(address, 2, AbortSignal.timeout(60_000))).size, 2, 'its successor is there')
  })

  await t.test('the commands of the runbook', async (t) => {
    const profile = async (cookie: string) => [...new Set((await fromAll(`${address}/profile`, 2, { cookie })).map(({ status }) => status))]
    t.same(await profile(cookie), [200])
    for (const value of ['old,new', 'new,old', 'new']) {
      const secrets = value.replace('old', OLD).replace('new', NEW)
      const command = documented('runbook', `SESSION_SECRET=${value} pm2 reload jpulse-site --update-env`).replace(value, `"${secrets}"`)
      // As it is in the middle of the reload, of one server of several too.
      await shell(command.replace('reload jpulse-site', 'restart 0'))
      for (const { worker, headers } of await fromAll(`${address}/api/1/auth/login`, 2, { json: { username: 'admin', password: PASSWORD } })) {
        t.same(await profile(headers['set-cookie']![0]!.split(';')[0]!), [200], `${value}: who signs in at ${worker} is known to each`)
      }
      if (value !== 'new') t.same(await profile(cookie), [200], 'who was signed in is so still')
      await shell(command)
    }
    const fresh = await session(address, '/sign-in', 'admin', PASSWORD)
    t.same([await profile(cookie), await profile(fresh)], [[303], [200]], 'without the old secret who signed in meanwhile is')
    await shell(documented('runbook', 'pm2 scale jpulse-site 3'))
    t.equal((await answers(address, 3, AbortSignal.timeout(60_000))).size, 3)
    t.match(await shell('pm2 describe jpulse-site'), 'online')
    t.match(await shell(documented('runbook', 'pm2 ls')), 'online')
    await shell(documented('runbook', 'pm2 logs jpulse-site --err --lines 5 --nostream'))
    await shell('pm2 reloadLogs')
    await shell(documented('deployment', '(umask 077 && pm2 save)'))
    const { mode } = statSync(join(home, 'dump.pm2'))
    t.equal(mode & 0o077, 0, 'what pm2 save writes is for its user alone')
    await shell('pm2 restart 0')
    t.equal((await answers(address, 3, AbortSignal.timeout(60_000))).size, 3)
    // The last command: this PM2 ends with its application, and a further one would start another.
    await shell(documented('runbook', 'pm2 stop jpulse-site'))
    await waitFor(async () => !await reaches(Number(new URL(address).port)), { what: 'nobody to listen', timeoutMs: 20_000 })
  })
})

/** Where it listens. */
async function listening (t: Scope, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A server whose machine is gone: nobody takes what is sent there. Its process stands still, and its queue is full. */
async function gone (t: Scope): Promise<string> {
  const code = "const s = require('net').createServer().listen(0, '127.0.0.1', 1, () => console.log(s.address().port))"
  const server = await spawnGuarded(process.execPath, ['-e', code])
  t.teardown(() => server.stop('SIGKILL'))
  const port = Number(await firstLine(server, 30_000))
  server.kill('SIGSTOP')
  for (let n = 0; n < 4; n++) {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    t.teardown(() => { socket.destroy() })
  }
  return `127.0.0.1:${port}`
}

t.test('nginx.conf: a slow GET is asked once, one whose server refuses it or is gone is asked of another', async (t) => {
  const asked: string[] = []
  const slow = createServer(({ url }, response) => { asked.push(url!); if (url !== '/slow') response.end('ok') })
  t.teardown(() => slow.closeAllConnections())
  const servers = [await listening(t, slow), await listening(t, createTcpServer((socket) => { socket.destroy() })), await gone(t)]
  // Longer than the time in which another server may be asked, as the one of the file is.
  const proxy = await nginx(t, servers, [['proxy_read_timeout 30s', 'proxy_read_timeout 4s'], ['proxy_connect_timeout 2s', 'proxy_connect_timeout 200ms'], ['proxy_next_upstream_tries 2', 'proxy_next_upstream_tries 3']])
  for (let n = 0; n < 4; n++) t.equal((await fetch(`${proxy.address}/quick`)).status, 200)
  t.equal((await fetch(`${proxy.address}/slow`)).status, 504)
  t.same(asked.filter((url) => url === '/slow'), ['/slow'])
})

t.test('nginx.conf: nobody closes the site to others by a long address or cookie, and what is too large is said by the site', async (t) => {
  const [longest, { address }] = [createServer((_request, response) => response.writeHead(302, { location: `/${'x'.repeat(13_000)}` }).end()), await site(t, { workers: 0 })]
  t.teardown(() => longest.closeAllConnections())
  const redirects = await nginx(t, [await listening(t, longest)])
  const proxy = await nginx(t, [address.slice('http://'.length)])
  const status = async (path: string, { address = proxy.address, ...init }: RequestInit & { address?: string } = {}) => (await fetch(address + path, { redirect: 'manual', ...init })).status
  // More often than max_fails of all three app servers.
  for (let n = 0; n < 8; n++) {
    t.equal(await status('/', { address: redirects.address }), 302, 'as large as an answer of the site may be')
    t.equal(await status(`/docs/?x=${'x'.repeat(2000)}`), 308)
    for (const path of ['/docs/', '/admin/users', '/api/1/users']) t.equal(await status(`${path}?x=${'x'.repeat(5000)}`), 414, path)
  }
  const large = (headers: number) => ({ headers: Object.fromEntries(Array.from({ length: headers }, (_, n) => [`x-${n}`, 'x'.repeat(12_000)])) })
  for (let n = 0; n < 8; n++) {
    t.equal(await status('/', large(2)), 200, 'as much as nginx lets through')
    t.equal(await status('/', large(4)), 400, 'what nginx refuses by itself')
    t.equal(await status('/health/live'), 200)
  }
  t.match(await (await fetch(`${proxy.address}/api/1/users?x=${'x'.repeat(9000)}`)).json(), { success: false, statusCode: 414 })
  const post = (path: string, type: string, size: number) => fetch(proxy.address + path, { method: 'POST', headers: { 'content-type': type, accept: 'text/html' }, body: `name=${'x'.repeat(size)}` })
  for (let n = 0; n < 8; n++) {
    t.match(await post('/api/1/auth/login', 'application/json', 1_900_000), { status: 413 })
    t.match(await (await post('/guestbook', 'application/x-www-form-urlencoded', 1_900_000)).text(), '<h1>Payload Too Large</h1>')
  }
  t.equal((await post('/guestbook', 'application/x-www-form-urlencoded', 3_000_000)).status, 413, 'nginx refuses what is larger still')
  t.equal(await status('/'), 200)
})

t.test('nginx.conf: below BASE_PATH sockets upgrade and /metrics is closed as well', async (t) => {
  const upgrades: string[] = []
  const site = createServer(({ url, headers }, response) => response.end(`${url} ${headers.upgrade}`))
  site.on('upgrade', ({ url }, socket) => { upgrades.push(url!); socket.end('HTTP/1.1 401 no\r\n\r\n') })
  t.teardown(() => site.closeAllConnections())
  const proxy = await nginx(t, [await listening(t, site)])
  const upgrade = ['Host: x', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==']
  const sockets = ['/api/1/ws/todo', '/ws/todo', '/shop/api/1/ws/todo', '/big/shop-2/ws/todo', '/api/1/ws', '/shop/ws']
  for (const path of sockets) t.match(await raw(proxy.port, [`GET ${path} HTTP/1.1`, ...upgrade]), /^HTTP\/1.1 401 /, path)
  t.same(upgrades, sockets)
  for (const path of ['/', '/shop/', '/shop/news/']) t.match(await raw(proxy.port, [`GET ${path} HTTP/1.1`, ...upgrade]), /^HTTP\/1.1 200 /, path)
  for (const path of ['/metrics', '/shop/metrics', '/big/shop-2/metrics']) t.equal((await fetch(proxy.address + path)).status, 404, path)
  for (const path of ['/api/1/metrics', '/shop/api/1/metrics', '/shop/api/1/features/metrics']) t.equal((await fetch(proxy.address + path)).status, 200, path)
})

t.test('nginx.conf: a socket of several namespaces may be as silent as one of a single namespace', async (t) => {
  const site = createServer(() => {})
  site.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    socket.pipe(socket).on('error', () => {})
    t.teardown(() => { socket.destroy() })
  })
  t.teardown(() => site.closeAllConnections())
  const proxy = await nginx(t, [await listening(t, site)], [['proxy_read_timeout 30s', 'proxy_read_timeout 1s']])
  const sockets = await Promise.all(['/api/1/ws/todo', '/api/1/ws', '/ws', '/shop/api/1/ws'].map(async (path) => {
    const socket = connect(proxy.port, '127.0.0.1').setEncoding('latin1')
    t.teardown(() => { socket.destroy() })
    socket.write([`GET ${path} HTTP/1.1`, 'Host: x', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', '', ''].join('\r\n'))
    t.match((await once(socket, 'data'))[0], /^HTTP\/1.1 101 /, path)
    return { path, socket }
  }))
  // Asked after them, and as silent: where this one is given up, so are those of the same patience.
  t.equal((await fetch(`${proxy.address}/slow`)).status, 504)
  for (const { path, socket } of sockets) {
    const heard = Promise.race([once(socket, 'data'), once(socket, 'end')])
    socket.write('still here')
    t.same(socket.readable && await heard, ['still here'], path)
  }
})

t.test('nginx.conf: more sockets than a service may have files open by default, each of which is two connections', async (t) => {
  const site = createServer((_request, response) => response.end('ok'))
  site.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    socket.on('error', () => {})
    t.teardown(() => { socket.destroy() })
  })
  t.teardown(() => site.closeAllConnections())
  // As many as the machine of the test lets it be.
  const proxy = await nginx(t, [await listening(t, site)], [['worker_rlimit_nofile 65536;', 'worker_rlimit_nofile 4096;'], ['worker_connections 32768;', 'worker_connections 4096;']], 1024)
  const answers = await Promise.all(Array.from({ length: 700 }, async () => {
    const socket = connect(proxy.port, '127.0.0.1').setEncoding('latin1')
    t.teardown(() => { socket.destroy() })
    socket.write(['GET /ws/todo HTTP/1.1', 'Host: x', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', '', ''].join('\r\n'))
    return await Promise.race([once(socket, 'data').then(([head]) => String(head).split('\r\n', 1)[0]), once(socket, 'close').then(() => 'closed')]).catch(String)
  }))
  t.same([...new Set(answers)], ['HTTP/1.1 101 Switching Protocols'])
})
