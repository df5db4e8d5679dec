import { execFile, execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseEnv, promisify } from 'node:util'
import t from 'tap'
import { parse } from 'yaml'
import { loadConfig } from '../examples/jpulse-site/src/config.ts'
import { cleanEnv, ROOT } from '../scripts/bootstrap.js'
import { onPath } from '../scripts/servers/binaries.js'
import { spawnGuarded } from '../scripts/servers/guarded.js'
import { COMMANDS, commandsOf } from './helpers/commands.ts'
import { freePort, redisServer, temporaryFolder, waitFor } from './helpers/index.ts'

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

interface Service { environment?: Record<string, string>, depends_on?: string[] | Record<string, unknown>, command?: string[], image?: string, build?: unknown }

/** As docker compose fills variables in. */
const filled = read('deploy/docker-compose.yml').replaceAll(/\$\{(\w+):[?-][^}]*\}/g, (_, name: string) => `value-of-${name}-0123456789abcdefghij`)
const { services, volumes } = parse(filled, { merge: true }) as { services: Record<string, Service>, volumes: object }
const named = (prefix: string) => Object.keys(services).filter((name) => name.startsWith(prefix))

t.test('docker-compose.yml: three app servers, nginx, Redis with three Sentinels, three members of MongoDB, and the site takes its variables', async (t) => {
  for (const name of named('mongo-').slice(0, 3)) t.match(JSON.stringify(services[name]), '--keyFile', `${name} lets nobody in without a password`)
  t.same(Object.keys(parseEnv(read('deploy/compose.env.example'))).sort(), [...new Set([...read('deploy/docker-compose.yml').matchAll(/\$\{(\w+):/g)].map(([, name]) => name!))].sort(), 'compose.env.example names every variable')
  t.same([named('app-'), named('redis-'), named('sentinel-'), named('mongo-').slice(0, 3), named('nginx')].map(({ length }) => length), [3, 3, 3, 3, 1])
  const configs = named('app-').map((name) => loadConfig(services[name]!.environment))
  t.same(configs.map(({ identity }) => identity.serverId), ['001', '002', '003'])
  for (const { environment, redis, mongoUri, secrets, admin, metricsToken } of configs) {
    t.match({ environment, redis, mongoUri, admin }, {
      environment: 'production',
      redis: { mode: 'sentinel', sentinel: { name: 'main', sentinels: named('sentinel-').map((host) => ({ host, port: 26_379 })) } },
      mongoUri: /^mongodb:\/\/jpulse:value-of-MONGODB_PASSWORD.*@.*replicaSet=rs0/,
      admin: { username: 'admin' }
    })
    t.ok(secrets[0]!.length >= 32)
    t.match(metricsToken, 'value-of-METRICS_TOKEN')
  }
  for (const [name, { depends_on: needs = [] }] of Object.entries(services)) {
    for (const other of Array.isArray(needs) ? needs : Object.keys(needs)) t.ok(services[other] !== undefined, `${name} needs ${other}`)
  }
  t.same(Object.keys(volumes), ['redis-1', 'redis-2', 'redis-3', 'mongo-1', 'mongo-2', 'mongo-3'])
  t.notMatch(read('deploy/docker-compose.yml'), /(?:PASSWORD|SECRET): "?(?!\$\{)\w/, 'no secret stands in it')
})

t.test('.dockerignore: the image takes neither what git ignores, such as the secrets of .run, nor what git itself keeps', async (t) => {
  const lines = (path: string) => read(path).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const kept = lines('.dockerignore')
  t.same(kept.filter((line) => line.startsWith('!')), [], 'no exception lets something in again')
  // git looks for a name on every level, Docker only at the root unless told otherwise.
  for (const name of [...lines('.gitignore'), '.git', '.env']) t.ok(kept.includes(`**/${name.replace(/\/$/, '')}`), name)
  // What the Dockerfile's bootstrap, and then PM2, need.
  for (const needed of ['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml', 'ecosystem.config.cjs', 'scripts', 'packages', 'examples', 'benchmarks']) {
    t.notOk(kept.some((line) => line.replace('**/', '') === needed), needed)
  }
})

t.test('jpulse-site.env.example: the site takes its variables, once the secrets are filled in', async (t) => {
  const example = parseEnv(read('deploy/jpulse-site.env.example'))
  const [command, code] = /node -p "([^"]+)"/.exec(read('deploy/jpulse-site.env.example')) ?? []
  t.ok(read('docs/deployment.md').includes(command!), 'the guide makes secrets in the same way')
  const secret = execFileSync(process.execPath, ['-p', code!], { encoding: 'utf8' }).trim()
  t.same(loadConfig({ ...example, SESSION_SECRET: secret, ADMIN_PASSWORD: 'x'.repeat(12) }).secrets, [secret])
  t.match(loadConfig({ ...example, SESSION_SECRET: 'x'.repeat(32), ADMIN_PASSWORD: 'x'.repeat(12) }), { host: '0.0.0.0', siteId: 'shop', redis: { mode: 'sentinel' }, mongoUri: /replicaSet/, metricsToken: undefined })
  for (const [name, value] of Object.entries(example)) if (/SECRET|PASSWORD|TOKEN/.test(name)) t.equal(value, '', `${name} holds nothing`)
})

t.test('a configuration that makes no sense is found before a reload, which would end the workers that serve', async (t) => {
  const file = join(temporaryFolder(t), 'site.env')
  const command = 'NODE_ENV=production node examples/jpulse-site/dist/server.js --check'
  for (const document of ['deployment', 'runbook']) t.ok(read(`docs/${document}.md`).includes(command), document)
  // As systemd runs it, but for the paths and for PM2.
  const [, script = ''] = /^ExecReload=\/bin\/sh -c '(.*)'$/m.exec(read('deploy/jpulse-site.service')) ?? []
  const reload = script.replaceAll('/usr/bin/node /srv/jpulse/node_modules/pm2/bin/pm2', 'echo pm2').replaceAll('/usr/bin/node /srv/jpulse', `node ${ROOT}`)
  const run = async (script: string) => {
    const { code = 0, stdout, stderr } = await promisify(execFile)('/bin/sh', ['-ec', script], { cwd: ROOT, env: { ...cleanEnv(), NODE_ENV: 'production', ENV_FILE: file } }).catch((err) => err)
    return { code, said: `${stdout}${stderr}` }
  }
  writeFileSync(file, 'SESSION_SECRET=short\n', { mode: 0o600 })
  for (const script of [command, reload]) t.match(await run(script), { code: 78, said: /^SESSION_SECRET must .*\n$/ })
  writeFileSync(file, `SESSION_SECRET=${'x'.repeat(32)}\n`)
  t.same([await run(command), await run(reload)], [{ code: 0, said: '' }, { code: 0, said: 'pm2 reload jpulse-site\n' }])
  const store = command.replace('jpulse-site', 'rerum-store')
  t.match(await run(store), { code: 78, said: /^\w+ must / })
  writeFileSync(file, `MONGODB_URI=mongodb://127.0.0.1\nJWT_SECRET=${'x'.repeat(32)}\n`)
  t.same(await run(store), { code: 0, said: '' })
})

t.test('ecosystem.config.cjs takes INSTANCES of ENV_FILE, before that of the environment', async (t) => {
  const file = join(temporaryFolder(t), 'site.env')
  writeFileSync(file, 'INSTANCES=3\n')
  const instances = (env: Record<string, string>) => JSON.parse(execFileSync(process.execPath, ['-p', 'JSON.stringify(require("./ecosystem.config.cjs").apps.map(({ instances }) => instances))'], { cwd: ROOT, env: { ...cleanEnv(), ...env }, encoding: 'utf8', stdio: 'pipe' }))
  t.same(instances({ ENV_FILE: file, INSTANCES: '2' }), [3, 3])
  t.same(instances({ INSTANCES: '2' }), [2, 2])
  t.same(instances({ ENV_FILE: join(file, 'none'), INSTANCES: '2' }), [2, 2], 'the workers say that they cannot read it')
  writeFileSync(file, 'INSTANCES=0\n')
  t.throws(() => instances({ ENV_FILE: file }), /INSTANCES must be a whole number from 1, not "0"/)
})

t.test('jpulse-site.service is taken by systemd, where there is one', async (t) => {
  const unit = join(ROOT, 'deploy/jpulse-site.service')
  if (onPath('systemd-analyze') === undefined) return t.comment('there is no systemd-analyze here')
  const { stderr } = await promisify(execFile)('systemd-analyze', ['verify', unit], { env: cleanEnv() }).catch((err: { stderr: string }) => err)
  t.notMatch(stderr, 'jpulse-site.service')
})

t.test('the backup of Redis that docs/deployment.md describes can be restored', async (t) => {
  if (onPath('redis-cli') === undefined) return t.comment('there is no redis-cli here')
  const [folder, document] = [temporaryFolder(t), read('docs/deployment.md')]
  for (const command of ['redis-cli --rdb shop.rdb', 'redis-server --appendonly no', 'redis-cli config set appendonly yes']) t.ok(document.includes(command), command)
  const cli = (port: number, ...args: string[]) => promisify(execFile)('redis-cli', ['-p', String(port), ...args], { cwd: folder, env: cleanEnv() })
  const before = await redisServer(t, { args: ['--appendonly', 'yes'] })
  await before.client.set('a', '1')
  await cli(before.port, '--rdb', 'shop.rdb')
  copyFileSync(join(folder, 'shop.rdb'), join(folder, 'dump.rdb'))
  const after = await redisServer(t, { args: ['--appendonly', 'no', '--dir', folder] })
  await cli(after.port, 'config', 'set', 'appendonly', 'yes')
  t.equal(await after.client.get('a'), '1')
})

t.test('each command of a document is run by a test or a script, or says what it needs', async (t) => {
  const scripts = (folder: string) => JSON.parse(read(join(folder, 'package.json'))).scripts as Record<string, string> | undefined
  const used = new Set<RegExp>()
  for (const { file, command } of commandsOf(ROOT)) {
    const [pattern, where] = COMMANDS.find(([pattern]) => pattern.test(command)) ?? []
    if (pattern === undefined || where === undefined) { t.fail(`${file}: nothing runs "${command}" (test/helpers/commands.ts)`); continue }
    used.add(pattern)
    for (const [path] of where.matchAll(/\b(?:test|packages|examples|scripts|benchmarks)\/[\w/.-]+\.\w+/g)) t.ok(existsSync(join(ROOT, path)), `${command}: ${path}`)
    for (const [path] of command.matchAll(/\b(?:test|packages|examples|benchmarks|spec|deploy)\/[\w/.-]+\.\w+/g)) t.ok(existsSync(join(ROOT, path)) || existsSync(join(ROOT, dirname(file), '..', path)), `${file}: ${path}`)
    const [, script] = /\bnpm run ([\w:]+)/.exec(command) ?? []
    if (script !== undefined) t.ok([scripts('.'), scripts(existsSync(join(ROOT, dirname(file), 'package.json')) ? dirname(file) : '.')].some((known) => known?.[script] !== undefined), `${file}: npm run ${script}`)
  }
  t.same(COMMANDS.filter(([pattern]) => !used.has(pattern)).map(String), [], 'and every entry of the list is used')
})

if (process.env.DEPLOY === 'full') {
  t.test('npm start in a fresh clone installs what the site needs and no more, and a build afterwards makes the rest', async (t) => {
    const clone = join(temporaryFolder(t), 'app')
    execFileSync('git', ['clone', '-q', ROOT, clone])
    const port = String(await freePort())
    const env = { ...cleanEnv(), PORT: port, EMBEDDED: '1', JPULSE_RUN_DIR: join(clone, '.run') }
    const site = await spawnGuarded('npm', ['start'], { cwd: clone, env, log: join(clone, 'log') })
    t.teardown(() => site.stop('SIGTERM', 15_000))
    t.equal((await waitFor(async () => await fetch(`http://127.0.0.1:${port}/`), { timeoutMs: 120_000 }).catch((err) => { throw new Error(`${err.message}: ${readFileSync(join(clone, 'log'), 'utf8')}`) })).status, 200)
    for (const name of ['tap', 'eslint', 'typescript-native']) t.notOk(existsSync(join(clone, 'node_modules', name)), name)
    await site.stop('SIGTERM', 15_000)
    await promisify(execFile)(process.execPath, ['scripts/build.js'], { cwd: clone, env, maxBuffer: 2 ** 26 })
    for (const file of ['node_modules/tap', 'packages/redis-link/dist/index.d.ts', 'examples/rerum-store/dist/server.js']) t.ok(existsSync(join(clone, file)), file)
  })

  t.test('the commands of the Dockerfile leave a site that boots, with what production needs and nothing else', async (t) => {
    const clone = join(temporaryFolder(t), 'app')
    const env = cleanEnv()
    execFileSync('git', ['clone', '-q', ROOT, clone])
    const commands = [...read('deploy/Dockerfile').replaceAll(/\\\n\s*/g, '').matchAll(/^RUN (.*)$/gm)].map(([, command]) => command!)
    t.equal(commands.length, 2)
    for (const command of commands) await promisify(execFile)('/bin/sh', ['-ec', command], { cwd: clone, env: { ...env, CI: 'true' }, maxBuffer: 2 ** 26 })
    for (const name of ['tap', 'typescript', 'eslint', 'fast-check']) t.notOk(existsSync(join(clone, 'node_modules', name)), name)
    t.ok(existsSync(join(clone, 'node_modules/.bin/pm2-runtime')))
    const port = String(await freePort())
    const server = await spawnGuarded(process.execPath, ['node_modules/.bin/../pm2/bin/pm2-runtime', 'start', 'ecosystem.config.cjs', '--only', 'jpulse-site', '--env', 'production'], { cwd: clone, env: { ...env, PORT: port, HOST: '127.0.0.1', SESSION_SECRET: 'x'.repeat(32), INSTANCES: '2', PM2_HOME: join(clone, '.pm2') }, log: join(clone, 'log') })
    t.teardown(() => server.stop('SIGTERM', 15_000))
    t.equal((await waitFor(async () => await fetch(`http://127.0.0.1:${port}/health/live`), { timeoutMs: 60_000 })).status, 200)
  })
}

t.test('nginx.conf: balances all app servers and upgrades WebSockets', async (t) => {
  const conf = read('deploy/nginx.conf').replaceAll(/#.*/g, '')
  t.equal(conf.match(/\{/g)?.length, conf.match(/\}/g)?.length)
  t.same([...conf.matchAll(/^\s*server (\S+):3000/gm)].map(([, name]) => name), named('app-'))
  for (const line of ['proxy_http_version 1.1;', 'proxy_set_header Upgrade $upgrade;', '"~*^websocket (/[\\w.-]+)*/(api/1/ws|ws)(/|$)" websocket;', 'proxy_next_upstream error timeout;', 'proxy_next_upstream_timeout 3s;', 'worker_shutdown_timeout', 'proxy_set_header Connection $connection_upgrade;', 'proxy_set_header Host $http_host;', 'proxy_set_header X-Request-Id $request_id;', 'proxy_set_header X-Forwarded-Proto $scheme;']) {
    t.ok(conf.includes(line), line)
  }
  t.same(conf.split(/\blocation\b/).slice(1).filter((location) => /proxy_set_header/.test(location)), [], 'a location with headers of its own would lose the others')
  for (const statement of conf.split('\n').map((line) => line.trim()).filter(Boolean)) t.match(statement, /[;{}]$/, statement)
})

t.test('docs/deployment.md: Prometheus asks one target for the whole cluster, with the token', async (t) => {
  const [, yaml = ''] = /```yaml\n(scrape_configs:[^]*?)```/.exec(read('docs/deployment.md')) ?? []
  const [job, ...others] = (parse(yaml) as { scrape_configs: object[] }).scrape_configs
  t.same(others, [])
  t.match(job, { metrics_path: '/metrics', params: { scope: ['cluster'] }, authorization: { type: 'Bearer', credentials_file: String }, static_configs: [{ targets: [`${named('app-')[0]}:3000`] }] })
})

t.test('links of the guides lead somewhere', async (t) => {
  for (const file of readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'))) {
    const path = join('docs', file)
    for (const [, link] of read(path).matchAll(/\]\((?!https?:)([^)#\s]+)/g)) t.ok(existsSync(join(ROOT, dirname(path), link!)), `${path}: ${link}`)
  }
})
