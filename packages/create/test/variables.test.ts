import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { cleanEnv } from '../../../scripts/bootstrap.js'
import { temporaryFolder } from '../../../test/helpers/index.ts'
import { create } from '../src/index.ts'

t.setTimeout(480_000)

const run = promisify(execFile)
const installed = fileURLToPath(new URL('../node_modules', import.meta.url))
const { REDIS_URL: _redis, NODE_OPTIONS: _options, NODE_TEST_CONTEXT: _context, ...env } = cleanEnv()

t.test('a server that cannot start says why in one line and ends, with 78 where a variable makes no sense; .env is found from anywhere', async (t) => {
  const folder = temporaryFolder(t)
  const project = join(folder, 'app')
  create({ folder: project, plugins: ['sessions'], typescript: false })
  symlinkSync(installed, join(project, 'node_modules'))
  const taken = createServer().listen(0, '127.0.0.1')
  t.teardown(() => taken.close())
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  const cases: Array<[variables: Record<string, string>, message: string, status: number]> = [
    // Also that the secret of .env was read, though it is started elsewhere.
    [{ PORT: String(port) }, `listen EADDRINUSE: address already in use 127.0.0.1:${port}`, 1],
    [{ SESSION_SECRET: 'short' }, 'redis-sessions: option secret must be', 78],
    [{ REDIS_URL: 'localhost:6379' }, 'redis-link: option url must begin with redis://', 78],
    [{ PORT: 'eighty' }, 'PORT must be a number up to 65535, not "eighty"', 78],
    [{ HOST: '203.0.113.9' }, 'HOST must be an address or a name of this machine, not "203.0.113.9"', 78],
    [{ LOG_LEVEL: 'loud' }, 'LOG_LEVEL must be one of trace, ', 78],
    ...['1', 'nonsense', '10.0.0.0/33', '0.0.0.0/0', '10.0.0.0/8,'].map((value) => [{ TRUST_PROXY: value }, `TRUST_PROXY must be true, false, or addresses and networks (10.0.0.0/8,loopback), not "${value}"`, 78] satisfies [object, string, number])
  ]
  for (const [variables, message, status] of cases) {
    const { code, stderr } = await run(process.execPath, [join(project, 'src/server.js')], { cwd: folder, env: { ...env, PORT: '0', ...variables }, timeout: 30_000 }).catch((err: { code: number, stderr: string }) => err) as { code: number, stderr: string }
    t.match({ code, stderr }, { code: status, stderr: message })
    t.equal(stderr.trim().split('\n').length, 1, stderr)
    // Asked before a reload, while the workers that serve have the port.
    const checked = await run(process.execPath, [join(project, 'src/server.js'), '--check'], { cwd: folder, env: { ...env, PORT: '0', ...variables }, timeout: 30_000 }).then(({ stderr }) => ({ code: 0, stderr }), (err: { code: number, stderr: string }) => err)
    t.match(checked, status === 78 ? { code: 78, stderr } : { code: 0, stderr: '' }, `--check ${JSON.stringify(variables)}`)
  }

  rmSync(join(project, '.env'))
  mkdirSync(join(project, '.env'))
  t.match(await run(process.execPath, ['src/server.js'], { cwd: project, env, timeout: 30_000 }).catch((err) => err), { code: 78, stderr: '.env cannot be read' })
})

t.test('as many workers as INSTANCES says, which is a number or max', async (t) => {
  const project = join(temporaryFolder(t), 'app')
  create({ folder: project, plugins: [], typescript: false })
  const instances = async (variables: Record<string, string>) => JSON.parse((await run(process.execPath, ['-p', "JSON.stringify(require('./ecosystem.config.cjs').apps[0].instances)"], { cwd: project, env: { ...env, ...variables } })).stdout) as unknown
  t.same(await Promise.all(([{}, { REDIS_URL: 'redis://127.0.0.1' }, { INSTANCES: '3' }, { INSTANCES: 'max' }, { INSTANCES: '' }] as Array<Record<string, string>>).map(instances)), [1, 'max', 3, 'max', 1])
  for (const INSTANCES of ['0', 'four', '1.5']) await t.rejects(instances({ INSTANCES }), { message: /INSTANCES must be a whole number from 1, or max, not/ })
})

/** What a script prints that has the application of `plugins`, and `ask`: it sends a password, and says the status and retry-after. */
async function printed (t: Test, plugins: string[], script: string) {
  const project = join(temporaryFolder(t), 'app')
  create({ folder: project, plugins, typescript: false })
  symlinkSync(installed, join(project, 'node_modules'))
  const code = `import { buildApp } from './src/app.js'
const app = await buildApp({ LOG_LEVEL: 'fatal', ADMIN_PASSWORD: 'of a test', SESSION_SECRET: 'only for tests, longer than 32 characters' })
await app.ready()
const put = (headers) => app.inject({ method: 'PUT', url: '/greeting', payload: { text: 'hi' }, headers })
const ask = async (password, name = 'admin') => {
  const { statusCode, headers } = await (app.sessions ? app.inject({ method: 'POST', url: '/login', payload: { name, password } }) : put({ authorization: 'Bearer ' + password }))
  return statusCode === 429 && Number(headers['retry-after']) > 0 ? 'wait' : statusCode
}
const times = (count, call) => Promise.all(Array.from({ length: count }, (_, n) => call(n)))
const counts = (statuses) => statuses.reduce((seen, status) => ({ ...seen, [status]: (seen[status] ?? 0) + 1 }), {})
${script}
await app.close()`
  return JSON.parse((await run(process.execPath, ['--input-type=module', '-e', code], { cwd: project, env })).stdout) as unknown
}

for (const [variant, plugins] of [['with sessions', ['sessions', 'cache']], ['without sessions', ['cache', 'metrics']]] as const) {
  t.test(`${variant} ten wrong passwords a minute from one address are answered, whatever comes at once; then the right one waits as well`, async (t) => {
    t.same(await printed(t, [...plugins], `const statuses = await times(500, (n) => ask(n === 400 ? 'of a test' : 'guessed ' + n))
console.log(JSON.stringify([counts(statuses), statuses[400], await ask('of a test')]))`), [{ 401: 10, wait: 490 }, 'wait', 'wait'])
  })

  t.test(`${variant} a right password costs nothing, nor does a request without one`, async (t) => {
    t.same(await printed(t, [...plugins], `const right = [counts(await times(50, () => ask('of a test')))]
const without = counts((await times(50, () => put({}))).map(({ statusCode }) => statusCode))
const wrong = counts(await times(9, (n) => ask('guessed ' + n)))
console.log(JSON.stringify([...right, without, wrong, await ask('of a test')]))`), [{ 200: 50 }, { 401: 50 }, { 401: 9 }, 200])
  })
}

t.test('the right password with a wrong name is a wrong one', async (t) => {
  t.same(await printed(t, ['sessions'], "console.log(JSON.stringify(counts(await times(11, () => ask('of a test', 'root')))))"), { 401: 10, wait: 1 })
})

t.test('who waits is told so by the dashboard too, while health stays open', async (t) => {
  t.same(await printed(t, ['cache', 'metrics'], `await times(10, (n) => ask('guessed ' + n))
const look = async (url) => (await app.inject({ url, headers: { authorization: 'Bearer guessed' } })).statusCode
console.log(JSON.stringify([await look('/admin/cluster'), await look('/health')]))`), [429, 200])
})

t.test('behind a proxy that ends TLS the cookie is for https alone, where TRUST_PROXY names it', async (t) => {
  const project = join(temporaryFolder(t), 'app')
  create({ folder: project, plugins: ['sessions'], typescript: false })
  symlinkSync(installed, join(project, 'node_modules'))
  const script = `import { buildApp } from './src/app.js'
const app = await buildApp({ LOG_LEVEL: 'warn', ADMIN_PASSWORD: 'of a test', SESSION_SECRET: 'only for tests, longer than 32 characters', TRUST_PROXY: process.env.TRUST_PROXY })
const { headers } = await app.inject({ method: 'POST', url: '/login', payload: { name: 'admin', password: 'of a test' }, headers: { 'x-forwarded-proto': 'https' } })
console.log('cookie ' + headers['set-cookie'])
await app.close()`
  const cookie = async (TRUST_PROXY: string) => (await run(process.execPath, ['--input-type=module', '-e', script], { cwd: project, env: { ...env, TRUST_PROXY } })).stdout
  t.match(await cookie('10.0.0.0/8,loopback'), /^cookie .*; Secure/m)
  t.notMatch(await cookie(''), /; Secure/)
})
