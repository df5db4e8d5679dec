import t from 'tap'
import { Cluster, Redis } from 'ioredis'
import { sharedRedis } from '../../../test/helpers/index.ts'
import { resolveOptions, type FastifyRedisLinkOptions } from '../src/options.ts'
import { build } from './build.ts'

t.test('without options there is no Redis, and every default is set', async (t) => {
  const resolved = resolveOptions({})
  t.match(resolved, {
    mode: 'none',
    siteId: 'jpulse',
    required: false,
    closeClient: false,
    connectTimeoutMs: 2000,
    commandTimeoutMs: 1000,
    closeTimeoutMs: 1500,
    memory: { maxEntries: 10_000, maxBytes: 33_554_432 }
  })
  t.ok(Object.isFrozen(resolved))
  t.equal(resolveOptions({ env: undefined } as unknown as FastifyRedisLinkOptions).env, process.env.NODE_ENV ?? 'development', 'undefined counts as not given')
})

t.test('the topology is inferred from what is given', async (t) => {
  const nodes = [{ host: 'a', port: 1 }]
  t.match(resolveOptions({ url: 'redis://h:7/3' }), { mode: 'single', nodes: [{ host: 'h', port: 7 }], db: 3 })
  t.match(resolveOptions({ single: {} }), { mode: 'single', nodes: [{ host: '127.0.0.1', port: 6379 }] })
  t.match(resolveOptions({ mode: 'single' }), { mode: 'single', nodes: [{ host: '127.0.0.1', port: 6379 }] })
  t.match(resolveOptions({ cluster: { nodes } }), { mode: 'cluster', nodes })
  t.match(resolveOptions({ mode: 'cluster', url: 'redis://h' }), { mode: 'cluster', nodes: [{ host: 'h', port: 6379 }] })
  t.match(resolveOptions({ sentinel: { name: 'n', sentinels: [{}] } }), { mode: 'sentinel', nodes: [{ port: 26379 }], sentinel: { name: 'n' } })
  t.match(resolveOptions({ mode: 'none', url: 'redis://h' }), { mode: 'none', nodes: [] }, 'mode none switches Redis off')
})

t.test('a variable that is set to nothing names no Redis', async (t) => {
  t.match(resolveOptions({ url: '' }), { mode: 'none', nodes: [] })
  t.match(resolveOptions({ url: '', single: { host: 'a' } }), { mode: 'single', nodes: [{ host: 'a' }] })
})

t.test('an error says what the option must be', async (t) => {
  const says = (options: unknown, text: string): void => { t.throws(() => resolveOptions(options as FastifyRedisLinkOptions), { message: `redis-link: option ${text}` }) }
  says({ mode: 'ring' }, 'mode must be "none", "single", "sentinel" or "cluster"')
  says({ siteId: 'a:b' }, 'siteId must be a name of 1 to 64 letters, digits, ".", "_" and "-"')
  says({ tls: 'yes' }, 'tls must be true, false or options of tls.connect')
  says({ sentinel: { sentinels: [{}] } }, 'sentinel.name is missing: it must be a text that is not empty')
  says({ cluster: { nodes: [{ colour: 1 }] } }, 'cluster.nodes.0.colour is unknown')
})

t.test('a URL carries user, password, database and TLS', async (t) => {
  t.match(resolveOptions({ url: 'rediss://ann:p%40ss@[::1]:6380/2' }), { nodes: [{ host: '::1', port: 6380 }], db: 2, username: 'ann', password: 'p@ss', tls: {} })
  t.match(resolveOptions({ url: 'redis://:old@h', password: 'new' }), { password: 'new' }, 'an option beats the URL')
  t.equal(resolveOptions({ url: 'redis://h' }).tls, undefined)
})

const client = new Redis({ lazyConnect: true })
const bad: Array<[option: string, options: unknown]> = [
  ['colour', { colour: 'red' }],
  ['single.colour', { single: { colour: 'red' } }],
  ['mode', { mode: 'ring' }],
  ['url', { url: 'not a url' }],
  ['url', { url: 'http://h' }],
  ['url', { url: 'redis://' }],
  ['url', { url: 'redis://h/path' }],
  ['url', { url: 'redis://h:0' }],
  ['url', { url: 'redis://h:99999' }],
  ['url', { url: 'redis://:100%@h' }],
  ['url', { url: 'redis://h?db=3' }],
  ['url', { url: 'redis://h/1?tls=true' }],
  ['url', { url: 'redis://ann:12#3@h' }],
  ['url', { url: 5 }],
  ['db', { url: 'redis://h/1', db: 2 }],
  ['db', { cluster: { nodes: [{}] }, db: 1 }],
  ['db', { client, db: 1 }],
  ['password', { client, password: 'x' }],
  ['password', { url: 'redis://h', password: 5 }],
  ['family', { url: 'redis://h', family: 5 }],
  ['connectionName', { url: 'redis://h', connectionName: 'a b' }],
  ['dnsLookup', { url: 'redis://h', dnsLookup: () => {} }],
  ['natMap', { url: 'redis://h', natMap: {} }],
  ['single.path', { single: { path: '/tmp/s', port: 1 } }],
  ['url', { mode: 'cluster', url: 'redis://h/1' }],
  ['url', { single: {}, url: 'redis://h' }],
  ['single.port', { single: { port: 0 } }],
  ['single.port', { single: { port: 65536 } }],
  ['single.port', { single: { port: '6379' } }],
  ['single.host', { single: { host: '' } }],
  ['single', { cluster: { nodes: [{}] }, single: {} }],
  ['cluster', { mode: 'single', cluster: { nodes: [{}] } }],
  ['cluster.nodes', { mode: 'cluster' }],
  ['cluster.nodes', { cluster: { nodes: [] } }],
  ['cluster.nodes', { mode: 'cluster', single: {} }],
  ['cluster.nodes.0.port', { cluster: { nodes: [{ port: -1 }] } }],
  ['sentinel', { mode: 'sentinel' }],
  ['sentinel.name', { sentinel: { name: '', sentinels: [{}] } }],
  ['sentinel.sentinels', { sentinel: { name: 'n', sentinels: [] } }],
  ['siteId', { siteId: 'a:b' }],
  ['siteId', { siteId: 'a b' }],
  ['siteId', { siteId: '' }],
  ['siteId', { siteId: 'a{b}' }],
  ['env', { env: 'pro:duction' }],
  ['client', { client: {} }],
  ['client', { client: null }],
  ['url', { client, url: 'redis://h' }],
  ['tls', { tls: 'yes' }],
  ['required', { required: 'no' }],
  ['connectTimeoutMs', { connectTimeoutMs: -1 }],
  ['commandTimeoutMs', { commandTimeoutMs: 0 }],
  ['commandTimeoutMs', { commandTimeoutMs: 1.5 }],
  ['closeTimeoutMs', { closeTimeoutMs: NaN }],
  ['memory.maxEntries', { memory: { maxEntries: 0 } }]
]

for (const [option, options] of bad) {
  t.test(`${option} is named where it is wrong: ${JSON.stringify(Object.entries(options as object).filter(([, value]) => value !== client))}`, async (t) => {
    const err = await build(t, options as FastifyRedisLinkOptions).then(() => undefined, (err) => err)
    t.match(err, { code: 'FST_ERR_REDIS_LINK_INVALID_OPTION', statusCode: 500 })
    t.ok(err?.message.startsWith(`redis-link: option ${option} `), err?.message)
  })
}

t.test('a client that gives numbers as texts is refused', async (t) => {
  const clients = [new Redis({ lazyConnect: true, stringNumbers: true }), new Cluster([{}], { lazyConnect: true, redisOptions: { stringNumbers: true } })]
  for (const client of clients) t.throws(() => resolveOptions({ client }), { code: 'FST_ERR_REDIS_LINK_INVALID_OPTION', message: /option client must not have stringNumbers/ })
})

t.test('a client that reads from replicas is refused', async (t) => {
  const clients: Array<[Redis | Cluster, RegExp]> = [
    [new Cluster([{}], { lazyConnect: true, scaleReads: 'slave' }), /client must not have scaleReads/], [new Cluster([{}], { lazyConnect: true, scaleReads: 'all' }), /scaleReads/],
    [new Cluster([{}], { lazyConnect: true, scaleReads: (nodes: Redis[]) => nodes[0]! }), /scaleReads/],
    [new Redis({ lazyConnect: true, name: 'main', sentinels: [{ host: '127.0.0.1', port: 1 }], role: 'slave' }), /client must not have role: "slave"/]
  ]
  for (const [client, message] of clients) t.throws(() => resolveOptions({ client }), { code: 'FST_ERR_REDIS_LINK_INVALID_OPTION', message })
  for (const client of [new Cluster([{}], { lazyConnect: true }), new Cluster([{}], { lazyConnect: true, scaleReads: 'master' })]) t.equal(resolveOptions({ client }).mode, 'cluster')
})

t.test('a client with a prefix of keys is warned of, once', async (t) => {
  const client = new Redis(sharedRedis(), { keyPrefix: 'shop:' })
  t.teardown(() => client.disconnect())
  const { complaints } = await build(t, { client })
  t.equal(complaints.length, 1)
  t.match(complaints[0], /keyPrefix.*use the option siteId/)
})

t.test('a message about a URL never repeats its password', async (t) => {
  for (const url of ['redis://hunter2?db=3@h', 'redis://ann:66#hunter2@h:7', 'redis://ann:66?hunter2@h:7', 'redis://ann:66?hunter2=1@h', 'redis://h/1#hunter2', 'http://:hunter2@h', 'redis://:hunter2@h:99999', 'redis://:hunter2@h/x', 'redis://:hunter2%@h']) {
    const err = await build(t, { url }).then(() => undefined, (err: Error) => err)
    t.match(err?.message, 'redis-link: option url')
    t.notMatch(err?.message, 'hunter2')
  }
})

t.test('a parameter of the URL is refused by its name, with what to write instead', async (t) => {
  t.throws(() => resolveOptions({ url: 'redis://h?db=3' }), { message: /parameter "db".*redis:\/\/host\/3/ })
  t.throws(() => resolveOptions({ url: 'redis://h?tls=true' }), { message: /parameter "tls".*rediss:/ })
  t.throws(() => resolveOptions({ url: 'redis://h?family=6' }), { message: /parameter "family", which is unknown$/ })
  t.throws(() => resolveOptions({ url: 'redis://ann:12#3@h' }), { message: /in a password write %3F and %23/ })
})
