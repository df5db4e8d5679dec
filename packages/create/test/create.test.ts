import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { Agent, get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { cleanEnv } from '../../../scripts/bootstrap.js'
import { packAll, published, tarball } from '../../../scripts/release.js'
import { spawnGuarded } from '../../../scripts/servers/guarded.js'
import { freePort, sharedRedis, temporaryFolder, waitFor } from '../../../test/helpers/index.ts'
import { create, FEATURES } from '../src/index.ts'

t.setTimeout(480_000)

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../..', import.meta.url))
const installed = fileURLToPath(new URL('../node_modules', import.meta.url))
const { REDIS_URL: _redis, NODE_OPTIONS: _options, NODE_TEST_CONTEXT: _context, ...env } = cleanEnv()
const npm = { ...env, npm_config_prefer_offline: 'true', npm_config_audit: 'false', npm_config_fund: 'false' }

t.test('npm create makes an application of packed packages that passes its tests, starts without a Redis, and runs on PM2 workers with one', async (t) => {
  const folder = temporaryFolder(t)
  const tarballs = join(folder, 'tarballs')
  await packAll(tarballs, ['--config.ignore-scripts=true'])
  const itself = join(tarballs, tarball(published().find(({ name }) => name === '@jpulse/create')!))
  for (const language of ['typescript', 'javascript']) {
    const project = join(folder, `my-${language}`)
    // What `npm create @jpulse` runs, once the registry has it.
    const { stdout } = await run('npm', ['exec', '--yes', `--package=${itself}`, '--', 'create', project, '--plugins', 'all', `--${language}`, '--packages', tarballs], { cwd: folder, env: npm })
    t.match(stdout, 'npm start')
    await run('npm', ['install', '--package-lock-only', join(tarballs, tarball(published().find(({ name }) => name === '@jpulse/redis-link')!))], { cwd: project, env: npm })
    t.match((await run('npm', ['test'], { cwd: project, env: npm })).stdout, /^# fail 0$|^ℹ fail 0$/m, language)

    const port = String(await freePort())
    const server = await spawnGuarded('npm', ['start'], { cwd: project, env: { ...env, PORT: port }, log: join(folder, `${language}.log`) })
    t.teardown(() => server.stop('SIGTERM', 10_000))
    const page = await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/`)).text(), { timeoutMs: 60_000 })
    t.match(page, `<h1>my-${language}</h1>`)
    for (const [, path] of page.matchAll(/href="(\/[^"]*)"/g)) t.equal((await fetch(`http://127.0.0.1:${port}${path}`)).status, ['/metrics', '/admin/cluster'].includes(path!) ? 401 : 200, path!)
  }

  const project = join(folder, 'my-typescript')
  const port = String(await freePort())
  writeFileSync(join(project, '.env'), readFileSync(join(project, '.env'), 'utf8').replace(/^REDIS_URL=$/m, `REDIS_URL=${sharedRedis()}`))
  const pm2 = await spawnGuarded(process.execPath, [join(root, 'node_modules/pm2/bin/pm2-runtime'), 'start', 'ecosystem.config.cjs', '--env', 'production'],
    { cwd: project, env: { ...env, PORT: port, INSTANCES: '2', PM2_HOME: join(folder, 'pm2'), PM2_DISCRETE_MODE: 'true' }, log: join(folder, 'pm2.log') })
  t.teardown(() => pm2.stop('SIGTERM', 15_000))
  const instances = new Set<string>()
  await waitFor(async () => {
    const { instance } = await (await fetch(`http://127.0.0.1:${port}/notices`, { headers: { connection: 'close' } })).json() as { instance: string }
    return instances.add(instance).size === 2
  }, { what: 'two workers', timeoutMs: 60_000 })

  // A reload fails no request, on connections that are kept open.
  const agent = new Agent({ keepAlive: true, maxSockets: 8 })
  t.teardown(() => agent.destroy())
  let asked = 0
  const over = new AbortController()
  const failed: unknown[] = []
  const clients = Array.from({ length: 8 }, async () => {
    while (!over.signal.aborted) {
      const status = await answer(`http://127.0.0.1:${port}/greeting`, agent)
      asked += 1
      if (status !== 200) failed.push(status)
    }
  })
  await waitFor(() => asked > 100, { timeoutMs: 30_000 })
  await run(process.execPath, [join(root, 'node_modules/pm2/bin/pm2'), 'reload', 'my-typescript'], { cwd: project, env: { ...env, PM2_HOME: join(folder, 'pm2'), PM2_DISCRETE_MODE: 'true' } })
  const until = asked + 200
  await waitFor(() => asked > until, { timeoutMs: 30_000 })
  over.abort()
  await Promise.all(clients)
  t.same(failed, [], `of ${asked} requests`)
})

/** The status, or the code of what broke the connection. */
async function answer (url: string, agent: Agent): Promise<unknown> {
  try {
    const [response] = await once(get(url, { agent }), 'response') as [IncomingMessage]
    response.resume()
    await once(response, 'end')
    return response.statusCode
  } catch (err) {
    return (err as NodeJS.ErrnoException).code
  }
}

t.test('a new repository is no full folder: what it has stays, and secrets stay out of it', async (t) => {
  const folder = join(temporaryFolder(t), '@acme/shop')
  mkdirSync(join(folder, '.git'), { recursive: true })
  for (const [file, text] of [['README.md', 'mine'], ['LICENSE', 'mine'], ['.gitignore', '*.log']]) writeFileSync(join(folder, file!), text!)
  const written = create({ folder, plugins: ['sessions'] })
  t.notOk(written.includes('README.md'))
  t.ok(written.includes('.gitignore'))
  t.equal(readFileSync(join(folder, 'README.md'), 'utf8'), 'mine')
  t.equal(readFileSync(join(folder, '.gitignore'), 'utf8'), '*.log\nnode_modules/\ndist/\n.env\n')
  t.equal((JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name: string }).name, '@acme/shop')
  t.match(readFileSync(join(folder, 'src/app.ts'), 'utf8'), "siteId: 'acme-shop'")
  t.match(readFileSync(join(folder, 'ecosystem.config.cjs'), 'utf8'), "name: 'acme-shop'")
})

t.test('a folder that is there may be called like no package', async (t) => {
  const folder = temporaryFolder(t)
  const names = ['Meine Räume', '.hidden', 'Shop', '@acme', '日本', 'a'.repeat(80), 'left -', 'all', '2026'].map((name) => {
    mkdirSync(join(folder, name))
    create({ folder: join(folder, name), plugins: [], typescript: false })
    return (JSON.parse(readFileSync(join(folder, name, 'package.json'), 'utf8')) as { name: string }).name
  })
  t.same(names, ['meine-raume', 'hidden', 'shop', 'acme', 'my-site', 'a'.repeat(64), 'left', 'site-all', 'site-2026'])
  t.match(readFileSync(join(folder, 'Meine Räume/src/app.js'), 'utf8'), "siteId: 'meine-raume'")
  mkdirSync(join(folder, 'Buchung'))
  t.match((await run(process.execPath, [join(root, 'packages/create/dist/cli.js'), '--yes', '--no-install', '.'], { cwd: join(folder, 'Buchung'), env })).stdout, /^buchung is made\.\n\n {2}npm install\n/)
})

t.test('of tarballs, a package that the application has can be installed in another version later', async (t) => {
  const folder = temporaryFolder(t)
  for (const name of ['redis-link', 'plugin-kit']) writeFileSync(join(folder, `jpulse-${name}-0.1.0.tgz`), '')
  create({ folder: join(folder, 'app'), plugins: [], packages: folder })
  t.match(JSON.parse(readFileSync(join(folder, 'app/package.json'), 'utf8')), {
    dependencies: { '@jpulse/redis-link': `file:${join(folder, 'jpulse-redis-link-0.1.0.tgz')}` },
    overrides: { '@jpulse/redis-link': '$@jpulse/redis-link', '@jpulse/plugin-kit': `file:${join(folder, 'jpulse-plugin-kit-0.1.0.tgz')}` }
  })
})

t.test('each choice of plugins compiles, and passes its tests', async (t) => {
  const folder = temporaryFolder(t)
  const choices = [['none', []], ...FEATURES.map(({ name }) => [name, [name]]), ['no-sessions', FEATURES.map(({ name }) => name).filter((name) => name !== 'sessions')]] as Array<[string, string[]]>
  for (const [name, plugins] of choices) {
    const [typed, plain] = [true, false].map((typescript) => {
      const project = join(folder, `${name}-${typescript ? 'typescript' : 'javascript'}`)
      create({ folder: project, plugins, typescript })
      symlinkSync(installed, join(project, 'node_modules'))
      return project
    })
    // With all of them it is compiled above; each alone adds nothing that these two leave out.
    if (plugins.length !== 1) await t.resolves(run(process.execPath, [join(root, 'node_modules/typescript-native/bin/tsc'), '-p', typed!, '--noEmit'], { env }), `${name} compiles`)
    const { stdout } = await run(process.execPath, ['--test', ...readdirSync(join(plain!, 'test')).filter((file) => file.endsWith('.test.js')).map((file) => join('test', file))], { cwd: plain!, env })
    t.match(stdout, /^(?:#|ℹ) fail 0$/m, name)
  }
})

t.test('Ctrl-C under npm start, of which the server is told twice, ends it gracefully; one more after a second ends it at once', async (t) => {
  const project = join(temporaryFolder(t), 'app')
  create({ folder: project, plugins: [], typescript: false })
  symlinkSync(installed, join(project, 'node_modules'))
  const app = join(project, 'src/app.js')
  const code = readFileSync(app, 'utf8')
  /** A server that has been told once, and is closing. */
  const closing = async (untilClosed: string) => {
    writeFileSync(app, code.replace('  return app\n', `  app.addHook('onClose', () => {
    const alive = setInterval(() => {}, 1000)
    const closed = ${untilClosed}.finally(() => clearInterval(alive))
    console.log('closing')
    return closed
  })
  return app
`))
    const port = String(await freePort())
    const child = spawn(process.execPath, ['src/server.js'], { cwd: project, env: { ...env, PORT: port }, stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => { child.kill('SIGKILL') })
    let said = ''
    child.stdout.on('data', (chunk) => { said += chunk })
    await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/`)).ok, { timeoutMs: 30_000 })
    child.kill('SIGINT')
    await waitFor(() => said.includes('closing'), { timeoutMs: 30_000 })
    return child
  }
  const twice = await closing('new Promise((resolve) => process.once(\'SIGINT\', resolve))')
  const ended = once(twice, 'exit')
  twice.kill('SIGINT')
  t.same(await ended, [0, null])

  const stuck = await closing('new Promise(() => {})')
  await waitFor(() => stuck.exitCode !== null || !stuck.kill('SIGINT'), { timeoutMs: 30_000 })
  t.equal(stuck.exitCode, 1)
})

t.test('the secrets are made for each application, stay out of git, and are for its owner alone', async (t) => {
  const folder = temporaryFolder(t)
  const secrets = ['one', 'two'].map((name) => {
    create({ folder: join(folder, name), plugins: [] })
    return readFileSync(join(folder, name, '.env'), 'utf8')
  })
  t.not(secrets[0], secrets[1])
  t.match(secrets[0], /^SESSION_SECRET=[\w-]{43}$/m)
  t.equal(statSync(join(folder, 'one/.env')).mode & 0o777, 0o600)
  t.match(readFileSync(join(folder, 'one/.gitignore'), 'utf8'), /^\.env$/m)
  t.match(readFileSync(join(folder, 'one/.env.example'), 'utf8'), /^SESSION_SECRET=$/m)
})

t.test('what cannot be made is one line that says why, and nothing is written', async (t) => {
  const folder = temporaryFolder(t)
  mkdirSync(join(folder, 'full'))
  writeFileSync(join(folder, 'full/notes'), 'mine')
  writeFileSync(join(folder, 'file'), '')
  symlinkSync(join(folder, 'nowhere'), join(folder, 'dangling'))
  const cases: Array<[args: string[], message: string, status: number]> = [
    [['full'], 'is not empty: notes', 1],
    [['file'], 'not a directory', 1],
    [['dangling'], 'no such file or directory', 1],
    [['node_modules'], '"node_modules" is no name of a package', 1],
    [['site', '--packages', join(folder, 'none')], 'no such file or directory', 1],
    [['all'], 'neither a number nor all, which mean something else to PM2', 1],
    [['2026'], '"2026" is no name of a package', 1],
    [['My Site'], '"My Site" is no name of a package', 1],
    [['site', '--plugins', 'sessions,cash'], 'There is no plugin cash: sessions, ', 1],
    [['site', '--redis', 'localhost'], 'The address of Redis begins with redis:// or rediss://', 1],
    [['site', '--redis', 'redis://:pa#ss@cache:6379'], 'in a password write %23', 1],
    [['site', '--packages', folder], 'There are no tarballs of the suite in', 1],
    [['site', 'other'], 'One folder, and one language', 1],
    [['site', '--pluggins', 'all'], "Unknown option '--pluggins'", 2]
  ]
  for (const [args, message, status] of cases) {
    const { code, stderr } = await run(process.execPath, [join(root, 'packages/create/dist/cli.js'), '--yes', '--no-install', ...args], { cwd: folder, env }).catch((err: { code: number, stderr: string }) => err) as { code: number, stderr: string }
    t.match({ code, stderr }, { code: status, stderr: message })
    t.notMatch(stderr, /^ {4}at /m, 'no stack')
  }
  const { stderr } = await run(process.execPath, [join(root, 'packages/create/dist/cli.js'), '--yes', '--packages', folder, 'site'], { cwd: folder, env: { ...env, npm_config_user_agent: 'pnpm/12.21.0 npm/? node/v20.20.2 linux x64' } }).catch((err: { stderr: string }) => err)
  t.match(stderr, '--packages is for npm: pnpm takes tarballs in another way')
  t.same(readdirSync(folder), ['dangling', 'file', 'full'])
})

t.test('a person is asked for what is not said', async (t) => {
  const folder = temporaryFolder(t)
  // A terminal of its own, since who is no terminal is not asked.
  const script = `import os, pty, sys
pid, terminal = pty.fork()
if pid == 0: os.execv(sys.argv[1], sys.argv[1:])
os.write(terminal, b'shop\\nno\\nyes\\nno\\nno\\nno\\nno\\nno\\n\\n')
try:
  while os.read(terminal, 4096): pass
except OSError: pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`
  try { execFileSync('python3', ['--version'], { stdio: 'ignore' }) } catch { return t.comment('there is no python3 here, which has a terminal to give') }
  await run('python3', ['-c', script, process.execPath, join(root, 'packages/create/dist/cli.js'), '--no-install'], { cwd: folder, env })
  const { dependencies } = JSON.parse(readFileSync(join(folder, 'shop/package.json'), 'utf8')) as { dependencies: object }
  t.same(Object.keys(dependencies), ['@fastify/formbody', '@jpulse/redis-link', '@jpulse/redis-sessions', 'fastify', 'ioredis'])
  t.ok(readdirSync(join(folder, 'shop/src')).includes('app.js'))
})
