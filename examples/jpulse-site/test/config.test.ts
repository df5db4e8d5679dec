import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { temporaryFolder } from '../../../test/helpers/index.ts'
import { loadConfig } from '../src/config.ts'
import { identify } from 'server-kit'
import { placeOf } from '../../../packages/cluster-broadcast/src/membership/identity.ts'

const SECRET = 'x'.repeat(32)

t.test('without variables the site listens on loopback and keeps everything in its process', async (t) => {
  t.match(loadConfig({}), {
    environment: 'development',
    host: '127.0.0.1',
    port: 3000,
    siteId: 'jpulse',
    logLevel: 'info',
    trustProxy: false,
    redis: { mode: 'none' },
    mongoUri: undefined,
    admin: undefined,
    seedPeople: 10_000,
    sessionTtlMs: 86_400_000
  })
  t.ok(Object.isFrozen(loadConfig({})))
})

t.test('variables are taken over, and an empty one counts as unset', async (t) => {
  t.match(loadConfig({
    NODE_ENV: 'production',
    PORT: ' 8080 ',
    HOST: '0.0.0.0',
    SITE_ID: 'shop-2',
    LOG_LEVEL: 'warn',
    REDIS_URL: 'rediss://cache:6380',
    MONGODB_URI: '',
    SESSION_SECRET: SECRET,
    SESSION_TTL: '600',
    CACHE_ENABLED: 'false',
    CACHE_TTL: '30'
  }), { environment: 'production', port: 8080, host: '0.0.0.0', siteId: 'shop-2', logLevel: 'warn', redis: { url: 'rediss://cache:6380' }, mongoUri: undefined, secrets: [SECRET], sessionTtlMs: 600_000, cacheEnabled: false, cacheTtlMs: 30_000 })
})

t.test('secrets come from files, which go before what PM2 remembers of the first start', async (t) => {
  const folder = temporaryFolder(t)
  const file = (name: string, content: string, mode = 0o640): string => {
    const path = join(folder, name)
    writeFileSync(path, content)
    chmodSync(path, mode)
    return path
  }
  const [old, fresh] = ['o'.repeat(32), 'n'.repeat(32)]
  const ENV_FILE = file('site.env', `# secrets\nSESSION_SECRET="${fresh},${old}"\nADMIN_PASSWORD=\nMETRICS_TOKEN_FILE=${file('token', 'prometheus-0123456789\n')}\n`)
  t.match(loadConfig({ SESSION_SECRET: old, ADMIN_PASSWORD: 'long-forgotten', ENV_FILE }), { secrets: [fresh, old], admin: undefined, metricsToken: 'prometheus-0123456789' })
  t.match(loadConfig({ SESSION_SECRET_FILE: file('secret', `${fresh}\n`) }), { secrets: [fresh] })
  t.throws(() => loadConfig({ SESSION_SECRET: old, SESSION_SECRET_FILE: 'x' }), { message: /SESSION_SECRET_FILE contradict/ })
  t.throws(() => loadConfig({ SESSION_SECRET_FILE: join(folder, 'none') }), { message: /SESSION_SECRET_FILE.*ENOENT/ })
  for (const password of ['p#word', 'p@ss#w%rd # and a comment']) {
    t.throws(() => loadConfig({ ENV_FILE: file('cut.env', `A=1\nREDIS_PASSWORD=${password}\n`) }), { message: /^ENV_FILE: the value of REDIS_PASSWORD holds a #, before(?!.*p@)/ })
    t.equal(loadConfig({ REDIS_HOST: 'r', ENV_FILE: file('quoted.env', `REDIS_PASSWORD='${password}' # a comment\n`) }).redis.password, password)
  }
  t.equal(loadConfig({ REDIS_HOST: 'r', ENV_FILE: file('comment.env', '# A=1#2\nREDIS_PASSWORD=word # a comment\nSITE_ID= # none\nB="x\nREDIS_PASSWORD=a#b"\n') }).redis.password, 'word')
  t.match(loadConfig({ ENV_FILE: file('windows.env', `\uFEFFSESSION_SECRET=${fresh}\r\nSITE_ID="shop"\r\nLOG_LEVEL=warn # less\r\n`) }), { secrets: [fresh], siteId: 'shop', logLevel: 'warn' })
  t.throws(() => loadConfig({ ENV_FILE: file('open.env', 'A=1', 0o644) }), { message: /everybody on this machine may read/ })
})

t.test('localhost means one address, so that one server is there to drain', async (t) => {
  t.equal(loadConfig({ HOST: 'localhost' }).host, '127.0.0.1')
})

t.test('TRUST_PROXY takes true, false, and the addresses and networks of the proxies', async (t) => {
  t.equal(loadConfig({ TRUST_PROXY: 'true' }).trustProxy, true)
  t.equal(loadConfig({ TRUST_PROXY: 'false' }).trustProxy, false)
  t.same(loadConfig({ TRUST_PROXY: '10.0.0.0/8, ::1,loopback' }).trustProxy, ['10.0.0.0/8', '::1', 'loopback'])
})

const NONSENSE: readonly [name: string, value: string][] = [
  ['PORT', 'abc'], ['PORT', '-1'], ['PORT', '65536'], ['PORT', '3000.5'], ['PORT', '0x10'], ['PORT', '1e3'],
  ['HOST', 'not a host'], ['HOST', 'a/b'],
  ['NODE_ENV', 'prod'], ['LOG_LEVEL', 'loud'],
  ['SITE_ID', 'two sites'], ['SITE_ID', 'a:b'], ['SITE_ID', 'x'.repeat(33)], ['SITE_ID', 'UPPER'],
  ['SERVER_ID', 'a b'], ['SERVER_ID', '../x'],
  ['BASE_PATH', 'shop'], ['BASE_PATH', '/shop/'], ['BASE_PATH', '//evil.example'],
  ['TRUST_PROXY', 'maybe'], ['TRUST_PROXY', '1'], ['TRUST_PROXY', '10.0.0.0/33'], ['TRUST_PROXY', '10.0.0.0/'], ['TRUST_PROXY', '0.0.0.0/0'], ['TRUST_PROXY', '::/0'], ['TRUST_PROXY', '300.1.1.1']
]

for (const [name, value] of NONSENSE) {
  t.test(`${name}=${value} is refused with an error that names the variable and the value`, async (t) => {
    t.throws(() => loadConfig({ [name]: value }), {
      code: 'FST_ERR_SITE_CONFIG',
      message: new RegExp(`^${name} must be .+, not "${value.replace(/[/.]/g, '\\$&')}"$`)
    })
  })
}

const SECRETS: readonly [name: string, value: string][] = [
  ['REDIS_URL', 'http://:hunter2@host'], ['REDIS_URL', 'redis://'], ['MONGODB_URI', 'postgres://u:hunter2@host'], ['MONGODB_URI', 'hunter2']
]

for (const [name, value] of SECRETS) {
  t.test(`${name} that begins with ${value.split(':')[0]} is refused without its value, which may hold a password`, async (t) => {
    t.throws(() => loadConfig({ [name]: value }), { code: 'FST_ERR_SITE_CONFIG', message: new RegExp(`^${name} must be a connection string such as (?!.*hunter2)`) })
  })
}

t.test('production does not start without a secret of 32 characters, and its value is in no message', async (t) => {
  for (const env of [{}, { SESSION_SECRET: 'hunter2' }, { SESSION_SECRET: `${SECRET},hunter2` }]) {
    t.throws(() => loadConfig({ NODE_ENV: 'production', ...env }), { code: 'FST_ERR_SITE_CONFIG', message: /^SESSION_SECRET must be 32 characters or more(?!.*hunter2)/ })
  }
  t.throws(() => loadConfig({ SESSION_SECRET: 'short' }), { code: 'FST_ERR_SITE_CONFIG' }, 'nor does development with a short one')
  t.same(loadConfig({ SESSION_SECRET: `${SECRET}, ${SECRET}y` }).secrets, [SECRET, `${SECRET}y`], 'of several the first signs')
})

t.test('METRICS_TOKEN is none, or one that nobody guesses and a header can hold, and its value is in no message', async (t) => {
  t.equal(loadConfig({}).metricsToken, undefined)
  t.equal(loadConfig({ METRICS_TOKEN: 'x'.repeat(16) }).metricsToken, 'x'.repeat(16))
  for (const value of ['hunter2', 'x'.repeat(15), 'hunter2 with blanks inside', 'hunter2-hünter2-hünter2', `hunter2${'x'.repeat(1000)}`]) {
    t.throws(() => loadConfig({ METRICS_TOKEN: value }), { code: 'FST_ERR_SITE_CONFIG', message: /^METRICS_TOKEN must be 16 (?!.*hunter2)/ }, value)
  }
})

t.test('Redis is reached by URL, host, Sentinels or nodes', async (t) => {
  t.same(loadConfig({ REDIS_HOST: 'r1', REDIS_PASSWORD: 'p', REDIS_TLS: 'true' }).redis, { mode: 'single', single: { host: 'r1', port: 6379 }, password: 'p', tls: true })
  t.same(loadConfig({ REDIS_URL: 'redis://r1', REDIS_USERNAME: 'u', REDIS_PASSWORD: 'p@#%', REDIS_TLS: 'true' }).redis, { url: 'redis://r1', username: 'u', password: 'p@#%', tls: true })
  t.throws(() => loadConfig({ REDIS_URL: 'redis://r1', REDIS_HOST: 'r2' }), { message: 'REDIS_URL and REDIS_HOST contradict each other' })
  t.same(loadConfig({ REDIS_MODE: 'sentinel', REDIS_SENTINELS: 's1:26379, s2', REDIS_SENTINEL_NAME: 'main' }).redis,
    { mode: 'sentinel', sentinel: { name: 'main', sentinels: [{ host: 's1', port: 26_379 }, { host: 's2', port: 26_379 }] } })
  t.same(loadConfig({ REDIS_MODE: 'cluster', REDIS_NODES: 'n1:7000,[::1]:7001' }).redis, { mode: 'cluster', cluster: { nodes: [{ host: 'n1', port: 7000 }, { host: '::1', port: 7001 }] } })
  for (const env of [{ REDIS_MODE: 'cluster' }, { REDIS_MODE: 'sentinel', REDIS_SENTINELS: 'a b' }, { REDIS_MODE: 'sentinel', REDIS_URL: 'redis://h' }]) {
    t.throws(() => loadConfig(env), { code: 'FST_ERR_SITE_CONFIG' })
  }
})

t.test('the first administrator has a name, an address and a good password, or is not there', async (t) => {
  const admin = { ADMIN_USERNAME: 'root', ADMIN_EMAIL: 'root@example.org', ADMIN_PASSWORD: 'correct horse' }
  t.same(loadConfig(admin).admin, { username: 'root', email: 'root@example.org', password: 'correct horse' })
  for (const wrong of [{ ADMIN_USERNAME: 'root' }, { ...admin, ADMIN_PASSWORD: 'hunter2' }, { ...admin, ADMIN_USERNAME: '<b>' }, { ...admin, ADMIN_EMAIL: 'nobody' }]) {
    t.throws(() => loadConfig(wrong), { code: 'FST_ERR_SITE_CONFIG', message: /^(?!.*hunter2)/ })
  }
})

t.test('the instance is named after SERVER_ID, else after the host', async (t) => {
  t.equal(identify({ SERVER_ID: '025', NODE_APP_INSTANCE: '3' }).instanceId, '025:3')
  t.equal(identify({ pm_id: '1' }, 'app-7').instanceId, '007:1', 'trailing digits, padded')
  t.equal(identify({}, 'a-rather-long-hostname').instanceId, 'a-rather-lon:0', 'the first 12 characters')
  t.equal(identify({}, '3f1c0a9b2217').instanceId, '3f1c0a9b2217:0', 'a container')
  t.equal(identify({ KUBERNETES_SERVICE_HOST: '10.0.0.1' }, 'site-6d9fdb7f8c-x2x11').instanceId, 'site-6d9fdb7f8c-x2x11:0', 'a pod')
  // What the option of cluster-broadcast is given is what it would find itself.
  for (const [env, host] of [
    [{ KUBERNETES_SERVICE_HOST: '10.0.0.1', NODE_NAME: 'node-a.internal' }, 'site-6d9fdb7f8c-x2x11'], [{ KUBERNETES_SERVICE_HOST: '10.0.0.1', NODE_NAME: 'node-a', POD_NAME: 'site-1', NODE_APP_INSTANCE: '2' }, 'x'],
    [{ KUBERNETES_SERVICE_HOST: '10.0.0.1', POD_NAME: 'site-1' }, 'x'], [{ KUBERNETES_SERVICE_HOST: '10.0.0.1', SERVER_ID: 'web' }, 'site-6d9f-x2x11'], [{ KUBERNETES_SERVICE_HOST: '10.0.0.1', SERVER_ID: 'web', NODE_APP_INSTANCE: '12' }, 's'.repeat(63)],
    [{ KUBERNETES_SERVICE_HOST: '10.0.0.1', POD_NAME: `${'s'.repeat(100)}-x2x11`, NODE_NAME: 'node-a' }, 'x'], [{ NODE_APP_INSTANCE: '3' }, 'web25'], [{}, '3f1c0a9b2217'], [{}, 'büro']
  ] as Array<[Record<string, string>, string]>) {
    const { server, process } = placeOf(env, host, '', env.SERVER_ID)
    t.match(identify(env, host), { serverId: server, pmId: process, instanceId: `${server}:${process}` }, JSON.stringify(env))
    t.ok(server.length <= 64 && process.length <= 64)
  }
})
