import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { cleanEnv } from '../scripts/bootstrap.js'
import { freePort, sharedRedis, temporaryFolder, waitFor } from './helpers/index.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('..', import.meta.url))
const { packageManager, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as
  { packageManager: string, devDependencies: Record<string, string> }

/** An environment of its own: the loader that runs these tests would run the compiler too. */
const BARE = ['-i', `PATH=${process.env.PATH}`, `HOME=${process.env.HOME}`]

t.test('a packed redis-link installs into an empty project, and the example of its README runs there', async (t) => {
  const folder = join(root, 'packages/redis-link')
  const project = temporaryFolder(t)
  // What it depends on is not published yet, so it lies beside it.
  for (const name of ['plugin-kit', 'redis-link']) {
    await run('env', [...BARE, 'npm', 'exec', '--yes', '--prefer-offline', `--package=${packageManager}`, '--', 'pnpm', 'pack', '--pack-destination', project], { cwd: join(root, 'packages', name) })
  }
  const tarballs = readdirSync(project).map((name) => `./${name}`)
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module', private: true }))
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', ...tarballs, `fastify@${devDependencies.fastify}`], { cwd: project, env: cleanEnv() })
  t.ok(existsSync(join(project, 'node_modules/@jpulse/redis-link/LICENSE')))
  t.notOk(existsSync(join(project, 'node_modules/@jpulse/redis-link/test')), 'tests are not published')

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
