import t from 'tap'
import { loadConfig } from '../src/config.ts'
import { identify } from 'server-kit'

t.test('without variables the site listens on loopback and keeps everything in its process', async (t) => {
  t.match(loadConfig({}), {
    environment: 'development',
    host: '127.0.0.1',
    port: 3000,
    siteId: 'jpulse',
    logLevel: 'info',
    trustProxy: false,
    redisUrl: undefined,
    mongoUri: undefined
  })
  t.ok(Object.isFrozen(loadConfig({})))
})

t.test('variables are taken over, and an empty one counts as unset', async (t) => {
  t.match(loadConfig({
    NODE_ENV: 'production', PORT: ' 8080 ', HOST: '0.0.0.0', SITE_ID: 'shop-2', LOG_LEVEL: 'warn', REDIS_URL: 'rediss://cache:6380', MONGODB_URI: ''
  }), { environment: 'production', port: 8080, host: '0.0.0.0', siteId: 'shop-2', logLevel: 'warn', redisUrl: 'rediss://cache:6380', mongoUri: undefined })
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
  ['TRUST_PROXY', 'maybe'], ['TRUST_PROXY', '1'], ['TRUST_PROXY', '10.0.0.0/33'], ['TRUST_PROXY', '10.0.0.0/'], ['TRUST_PROXY', '300.1.1.1']
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

t.test('the instance is named after SERVER_ID, else after the host', async (t) => {
  t.equal(identify({ SERVER_ID: '025', NODE_APP_INSTANCE: '3' }).instanceId, '025:3')
  t.equal(identify({ pm_id: '1' }, 'app-7').instanceId, '007:1', 'trailing digits, padded')
  t.equal(identify({}, 'a-rather-long-hostname').instanceId, 'a-rather-lon:0', 'the first 12 characters')
})
