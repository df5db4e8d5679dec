import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import t from 'tap'
import { cleanEnv } from '../scripts/bootstrap.js'
import { isPublished, packAll, publish, published, tarball } from '../scripts/release.js'
import { freePort, sharedRedis, temporaryFolder, waitFor } from './helpers/index.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('..', import.meta.url))
const { packageManager, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as
  { packageManager: string, devDependencies: Record<string, string> }

/** An environment of its own: the loader that runs these tests would run the compiler too. */
const BARE = ['-i', `PATH=${process.env.PATH}`, `HOME=${process.env.HOME}`]

const SERVER = `
import clusterBroadcast from '@jpulse/cluster-broadcast'
import clusterMetrics from '@jpulse/cluster-metrics'
import configCache, { memorySource } from '@jpulse/config-cache'
import cursorPagination from '@jpulse/cursor-pagination'
import redisLink from '@jpulse/redis-link'
import redisSessions from '@jpulse/redis-sessions'
import wsNamespaces from '@jpulse/ws-namespaces'
import Fastify from 'fastify'

const secret = 'a secret of more than thirty-two characters'
const app = Fastify()
app.register(redisLink)
app.register(redisSessions, { secret })
app.register(clusterBroadcast, { authorize: () => true })
app.register(wsNamespaces, { routePrefix: '/api/1/ws' })
app.register(configCache, { source: memorySource() })
app.register(clusterMetrics, { authorize: () => true })
app.register(cursorPagination, { secret })
app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
`

const CLI = ['fastify-cli@^8.0.0', '@fastify/autoload@^6.0.0']
const DECORATORS = ['redisLink', 'appCluster', 'sessions', 'wsNamespaces', 'configCache', 'clusterMetrics', 'paginate']
const OPTIONS: Record<string, string> = { 'redis-sessions': '{ secret }', 'cursor-pagination': '{ secret }' }
/** An application as fastify-cli makes one: its plugins are found in the order of their names, and need each other in another one. */
const AUTOLOADED = {
  'app.js': `
import { dirname, join } from 'node:path'
import autoload from '@fastify/autoload'

export default async function (app, options) {
  app.register(autoload, { dir: join(import.meta.dirname, 'plugins'), options })
  app.register(autoload, { dir: join(import.meta.dirname, 'routes'), options })
}`,
  'routes/names.js': `export default async function (app) { app.get('/names', async () => ${JSON.stringify(DECORATORS)}.filter((name) => app.hasDecorator(name))) }`,
  ...Object.fromEntries(['redis-link', 'redis-sessions', 'cluster-broadcast', 'ws-namespaces', 'config-cache', 'cluster-metrics', 'cursor-pagination'].map((name) => [`plugins/${name}.js`, `
import plugin from '@jpulse/${name}'
const secret = 'a secret of more than thirty-two characters'
export default plugin
export const autoConfig = ${OPTIONS[name] ?? '{}'}`]))
}

/** What npm test has built, packed: prepack, which would build it again, has a test of its own. */
const tarballs = temporaryFolder(t)
t.setTimeout(240_000)
t.before(() => packAll(tarballs, ['--config.ignore-scripts=true']))

t.test('each package is complete when packed, and npm would publish it', async (t) => {
  // No package is known here, as before the first release.
  const registry = createServer((_request, response) => { response.writeHead(404, { 'content-type': 'application/json' }).end('{}') }).listen(0, '127.0.0.1')
  t.teardown(() => registry.close())
  await once(registry, 'listening')
  const { port } = registry.address() as AddressInfo
  await Promise.all(published().map(async ({ name, version, folder }) => {
    const file = join(tarballs, tarball({ name, version }))
    const files = execFileSync('tar', ['-tzf', file], { encoding: 'utf8' }).trim().split('\n').map((path) => path.replace('package/', ''))
    const packed = JSON.parse(execFileSync('tar', ['-xzOf', file, 'package/package.json'], { encoding: 'utf8' })) as Record<string, Record<string, string>>
    t.match(packed, { license: 'MIT', engines: { node: '>=20.19' }, publishConfig: { access: 'public', provenance: true }, description: /./, keywords: [] }, name)
    t.notMatch(JSON.stringify(packed), 'workspace:', name)
    t.match(packed.exports, { './package.json': './package.json' }, `${name}: tools look for its version and its folder there`)
    for (const [sibling, range] of Object.entries(packed.dependencies ?? {})) if (sibling.startsWith('@jpulse/')) t.match(range, /^\^\d/, `${name}: ${sibling}`)
    const named = [...JSON.stringify([packed.exports, packed.bin]).matchAll(/"\.\/([^"*]+\.(?:js|ts))"/g)].map(([, path]) => path!)
    t.same(['README.md', 'LICENSE', 'CHANGELOG.md', ...named].filter((path) => !files.includes(path)), [], name)
    t.same(files.filter((path) => /^test\/|\.test\.|tsbuildinfo/.test(path)), [], `${name}: tests are not published`)
    const sources = readdirSync(join(folder, 'src'), { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts')).map((path) => `dist/${path.replace(/\.ts$/, '.js')}`)
    t.same(sources.filter((path) => !files.includes(path)), [], `${name}: each source is built`)
    t.match(await publish(file, ['--dry-run', '--access', 'public', '--registry', `http://127.0.0.1:${port}/`]), `+ ${name}@${version}`)
  }))
})

t.test('what the registry has in this version is not published again', async (t) => {
  const [one, other] = published()
  const known = { name: one!.name, 'dist-tags': { latest: one!.version }, versions: { [one!.version]: { name: one!.name, version: one!.version, dist: { tarball: 'http://127.0.0.1/none.tgz' } } } }
  const registry = createServer(({ url = '' }, response) => {
    const isKnown = decodeURIComponent(url) === `/${one!.name}`
    response.writeHead(isKnown ? 200 : 404, { 'content-type': 'application/json' }).end(isKnown ? JSON.stringify(known) : '{}')
  }).listen(0, '127.0.0.1')
  t.teardown(() => registry.close())
  await once(registry, 'listening')
  const args = ['--registry', `http://127.0.0.1:${(registry.address() as AddressInfo).port}/`]
  t.same(await Promise.all([one!, { ...one!, version: '9.9.9' }, other!].map((each) => isPublished(each, args))), [true, false, false])
})

t.test('a package that nobody has built is built when it is packed', async (t) => {
  // Beside the checkout, whose dist other tests use.
  const checkout = temporaryFolder(t)
  const folder = join(checkout, 'packages/plugin-kit')
  cpSync(join(root, 'packages/plugin-kit'), folder, { recursive: true, filter: (path) => !/plugin-kit\/(?:dist|node_modules)/.test(path) })
  for (const file of ['scripts', 'tsconfig.base.json', 'package.json']) cpSync(join(root, file), join(checkout, file), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'))
  mkdirSync(join(checkout, 'out'))
  symlinkSync(join(root, 'packages/plugin-kit/node_modules'), join(folder, 'node_modules'))
  await run('env', [...BARE, 'npm', 'exec', '--yes', '--prefer-offline', `--package=${packageManager}`, '--', 'pnpm', '--ignore-workspace', 'pack', '--pack-destination', join(checkout, 'out')], { cwd: folder })
  const [file = ''] = readdirSync(join(checkout, 'out'))
  t.match(execFileSync('tar', ['-tzf', join(checkout, 'out', file)], { encoding: 'utf8' }), 'package/dist/index.js')
})

t.test('the packages install into an empty project, and the example of redis-link’s README runs there', async (t) => {
  const folder = join(root, 'packages/redis-link')
  const project = temporaryFolder(t)
  const needed = published().map((one) => join(tarballs, tarball(one)))
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module', private: true }))
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', ...needed, `fastify@${devDependencies.fastify}`, ...CLI], { cwd: project, env: cleanEnv() })
  t.ok(existsSync(join(project, 'node_modules/@jpulse/redis-link/LICENSE')))

  const example = /```js\n([^]*?)```/.exec(readFileSync(join(folder, 'README.md'), 'utf8'))?.[1]
  writeFileSync(join(project, 'app.js'), example!)
  const port = await freePort()
  const app = spawn(process.execPath, ['app.js'], { cwd: project, env: { PATH: process.env.PATH, PORT: String(port), REDIS_URL: sharedRedis() }, stdio: 'ignore' })
  t.teardown(async () => {
    app.kill('SIGKILL')
    if (app.exitCode === null && app.signalCode === null) await once(app, 'exit')
  })
  const answer = await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/`)).json() as Promise<{ visits: number, redis: string }>, { timeoutMs: 30_000 })
  t.equal(answer.redis, 'up')
  t.ok(answer.visits >= 1)

  await t.test('fastify-cli starts it where @fastify/autoload finds each plugin in a file of its own', async (t) => {
    for (const [path, code] of Object.entries(AUTOLOADED)) {
      mkdirSync(dirname(join(project, 'cli', path)), { recursive: true })
      writeFileSync(join(project, 'cli', path), code)
    }
    const port = await freePort()
    const app = spawn(process.execPath, ['node_modules/fastify-cli/cli.js', 'start', '--port', String(port), '--log-level', 'warn', 'cli/app.js'], { cwd: project, env: { PATH: process.env.PATH }, stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    for (const stream of [app.stdout, app.stderr]) stream.on('data', (chunk) => { said += chunk })
    t.teardown(async () => { if (app.exitCode === null && app.signalCode === null && app.kill('SIGKILL')) await once(app, 'exit') })
    const names = await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/names`)).json() as Promise<string[]>, { timeoutMs: 30_000 }).catch((err: Error) => { throw new Error(`${err.message}: ${said}`) })
    t.same(names, DECORATORS)
    t.equal((await fetch(`http://127.0.0.1:${port}/health`)).status, 200)
  })
})

t.test('what was built of a source that is gone is not packed', async (t) => {
  const dist = join(root, 'packages/plugin-kit/dist')
  mkdirSync(join(dist, 'gone'), { recursive: true })
  t.teardown(() => rmSync(join(dist, 'gone'), { recursive: true }))
  for (const name of ['index.js', 'index.js.map', 'index.d.ts', 'index.d.ts.map']) writeFileSync(join(dist, 'gone', name), '')
  const folder = temporaryFolder(t)
  const { stdout } = await run('env', [...BARE, 'npm', 'exec', '--yes', '--prefer-offline', `--package=${packageManager}`, '--', 'pnpm', 'pack', '--json', '--pack-destination', folder], { cwd: join(root, 'packages/plugin-kit') })
  t.match(stdout, 'dist/index.js')
  t.notMatch(stdout, 'gone')
})

t.test('a server with every plugin, bundled into one file, boots and serves the dashboard', async (t) => {
  for (const [format, file] of [['esm', 'server.mjs'], ['cjs', 'server.cjs']] as const) {
    const folder = temporaryFolder(t)
    const outfile = join(folder, file)
    await build({
      stdin: { contents: SERVER, resolveDir: root, loader: 'ts' },
      outfile,
      format,
      bundle: true,
      platform: 'node',
      logLevel: 'error',
      logOverride: { 'empty-import-meta': 'silent' },
      // Fastify and ioredis are CommonJS, and require what Node has built in.
      ...(format === 'esm' && { banner: { js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url)" } })
    })
    const port = String(await freePort())
    const server = spawn('/usr/bin/env', [...BARE, `PORT=${port}`, process.execPath, outfile], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    server.stderr.on('data', (chunk) => { said += chunk })
    t.teardown(async () => { if (server.exitCode === null && server.signalCode === null && server.kill('SIGKILL')) await once(server, 'exit') })
    const page = await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/admin/cluster`)).text(), { timeoutMs: 30_000 }).catch(() => t.fail(said) as unknown as string)
    t.match(page, '<h1 id="title"', format)
    const script = await fetch(`http://127.0.0.1:${port}/admin/cluster/dashboard.js`)
    t.equal(await script.text(), readFileSync(join(root, 'packages/cluster-metrics/dashboard/dashboard.js'), 'utf8'), format)
  }
})

t.test('a published package names ranges, so that an application keeps one copy of what it has too', async (t) => {
  for (const name of readdirSync(join(root, 'packages'))) {
    const { dependencies = {}, peerDependencies = {}, engines, scripts } = JSON.parse(readFileSync(join(root, 'packages', name, 'package.json'), 'utf8')) as
      Record<'dependencies' | 'peerDependencies' | 'engines' | 'scripts', Record<string, string>>
    for (const [dependency, range] of Object.entries({ ...dependencies, ...peerDependencies })) t.match(range, /^(workspace:)?\^|\|\|/, `${name}: ${dependency}`)
    for (const dependency of ['fastify', 'ioredis', 'mongodb', 'mongoose', 'prom-client']) t.notOk(dependency in dependencies, `${name} leaves ${dependency} to the application`)
    t.ok(engines?.node, name)
    t.match(scripts?.prepack, 'prepack.js', name)
  }
})

t.test('npm, which would leave workspace:^ in what it packs, is refused', async (t) => {
  const folder = temporaryFolder(t)
  await t.rejects(run('npm', ['pack', '--pack-destination', folder], { cwd: join(root, 'packages/plugin-kit'), env: cleanEnv() }), { message: /pnpm pack/ })
  t.strictSame(readdirSync(folder), [])
})
