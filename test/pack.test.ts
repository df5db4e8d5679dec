import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readdirSync, writeFileSync, existsSync } from 'node:fs'
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

t.test('a packed redis-link installs into an empty project, and the example of its README runs there', async (t) => {
  const folder = join(root, 'packages/redis-link')
  const project = temporaryFolder(t)
  // What it depends on is not published yet, so it lies beside it.
  for (const name of ['plugin-kit', 'redis-link']) {
    await run('npm', ['exec', '--yes', '--prefer-offline', `--package=${packageManager}`, '--', 'pnpm', 'pack', '--pack-destination', project], { cwd: join(root, 'packages', name), env: cleanEnv() })
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
