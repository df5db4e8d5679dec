import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseEnv } from 'node:util'
import t from 'tap'
import { parse } from 'yaml'
import { loadConfig } from '../examples/jpulse-site/src/config.ts'
import { ROOT } from '../scripts/bootstrap.js'

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

interface Service { environment?: Record<string, string>, depends_on?: string[] | Record<string, unknown>, command?: string[], image?: string, build?: unknown }

/** As docker compose fills variables in. */
const filled = read('deploy/docker-compose.yml').replaceAll(/\$\{(\w+):[?-][^}]*\}/g, (_, name: string) => `value-of-${name}-0123456789abcdefghij`)
const { services, volumes } = parse(filled, { merge: true }) as { services: Record<string, Service>, volumes: object }
const named = (prefix: string) => Object.keys(services).filter((name) => name.startsWith(prefix))

t.test('docker-compose.yml: three app servers, nginx, Redis with three Sentinels, three members of MongoDB, and the site takes its variables', async (t) => {
  t.same([named('app-'), named('redis-'), named('sentinel-'), named('mongo-').slice(0, 3), named('nginx')].map(({ length }) => length), [3, 3, 3, 3, 1])
  const configs = named('app-').map((name) => loadConfig(services[name]!.environment))
  t.same(configs.map(({ identity }) => identity.serverId), ['001', '002', '003'])
  for (const { environment, redis, mongoUri, secrets, admin, metricsToken } of configs) {
    t.match({ environment, redis, mongoUri, admin }, {
      environment: 'production',
      redis: { mode: 'sentinel', sentinel: { name: 'main', sentinels: named('sentinel-').map((host) => ({ host, port: 26_379 })) } },
      mongoUri: /replicaSet=rs0/,
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
  t.match(loadConfig({ ...example, SESSION_SECRET: 'x'.repeat(32), ADMIN_PASSWORD: 'x'.repeat(12) }), { host: '0.0.0.0', siteId: 'shop', redis: { mode: 'sentinel' }, mongoUri: /replicaSet/, metricsToken: undefined })
  for (const [name, value] of Object.entries(example)) if (/SECRET|PASSWORD|TOKEN/.test(name)) t.equal(value, '', `${name} holds nothing`)
})

t.test('nginx.conf: balances all app servers and upgrades WebSockets', async (t) => {
  const conf = read('deploy/nginx.conf').replaceAll(/#.*/g, '')
  t.equal(conf.match(/\{/g)?.length, conf.match(/\}/g)?.length)
  t.same([...conf.matchAll(/^\s*server (\S+):3000/gm)].map(([, name]) => name), named('app-'))
  for (const line of ['proxy_http_version 1.1;', 'proxy_set_header Upgrade $upgrade;', '"~*^websocket$" websocket;', 'worker_shutdown_timeout', 'proxy_set_header Connection $connection_upgrade;', 'proxy_set_header Host $http_host;', 'proxy_set_header X-Forwarded-Proto $scheme;']) {
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
