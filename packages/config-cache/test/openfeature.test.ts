import t, { type Test } from 'tap'
import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import { OpenFeature, ProviderEvents, ProviderStatus, type Client, type EvaluationContext, type JsonValue } from '@openfeature/server-sdk'
import { redisLink } from '@jpulse/redis-link'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { ConfigCacheProvider } from '../src/openfeature.ts'
import { bucketOf, configCache, memorySource, type Feature, type FeatureCondition, type FastifyConfigCacheOptions } from '../src/index.ts'
import { holds } from '../src/features/conditions.ts'
import { definitionOf, evaluate } from '../src/features/index.ts'

t.setTimeout(60_000)
t.teardown(() => OpenFeature.close())

async function build (t: Test, { url, siteId = uniqueName(), ...options }: FastifyConfigCacheOptions & { url?: string, siteId?: string } = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(redisLink, { url, siteId })
  await app.register(configCache, { blockTtlMs: 500, ...options })
  await app.ready()
  return app
}

async function connect (app: FastifyInstance, provider = new ConfigCacheProvider(app.configCache)): Promise<Client> {
  const domain = uniqueName()
  await OpenFeature.setProviderAndWait(domain, provider).catch(() => {})
  return OpenFeature.getClient(domain)
}

const HIT = '5c3d8535-f81a-4478-a6d3-afaa4d51199e'
const bool = { on: true, off: false }
const email: FeatureCondition = { attribute: 'email', value: 'ballmer@macrosoft.com' }
const targeted = (variants: Record<string, unknown>): Feature => ({ enabled: true, variants, defaultVariant: 'zero', targeting: [{ if: [email], variant: 'zero' }] })

const VECTORS: Array<[seed: string, key: string, bucket: string]> = [
  ['roll-out', 'user-1', '0.038481735'], ['roll-out', 'user-2', '0.887051395'], ['new-ui', '5c3d8535-f81a-4478-a6d3-afaa4d51199e', '0.117274891'], ['ü', '日本', '0.917577484']
]

/** The flags of OpenFeature's suites for providers and SDKs, by their behaviour. */
const FLAGS: Record<string, Feature> = {
  'boolean-flag': { enabled: true, variants: bool, defaultVariant: 'on' },
  'string-flag': { enabled: true, variants: { greeting: 'hi', parting: 'bye' }, defaultVariant: 'greeting' },
  'integer-flag': { enabled: true, variants: { one: 1, ten: 10 }, defaultVariant: 'ten' },
  'float-flag': { enabled: true, variants: { tenth: 0.1, half: 0.5 }, defaultVariant: 'half' },
  'large-integer-flag': { enabled: true, variants: { one: 1, 'max-int32': 2147483647 }, defaultVariant: 'max-int32' },
  'huge-integer-flag': { enabled: true, variants: { one: 1, 'max-safe': 9007199254740991 }, defaultVariant: 'max-safe' },
  'boolean-zero-flag': { enabled: true, variants: { zero: false, 'non-zero': true }, defaultVariant: 'zero' },
  'integer-zero-flag': { enabled: true, variants: { zero: 0, 'non-zero': 1 }, defaultVariant: 'zero' },
  'string-zero-flag': { enabled: true, variants: { zero: '', 'non-zero': 'str' }, defaultVariant: 'zero' },
  'object-flag': { enabled: true, variants: { empty: {}, template: { showImages: true, title: 'Check out these pics!', imagesPerPage: 100 } }, defaultVariant: 'template' },
  'object-zero-flag': { enabled: true, variants: { zero: {}, 'non-zero': { a: 1 } }, defaultVariant: 'zero' },
  'wrong-flag': { enabled: true, variants: { one: 'uno', two: 'dos' }, defaultVariant: 'one' },
  'disabled-boolean-flag': { enabled: false, variants: bool, defaultVariant: 'on' },
  'disabled-string-flag': { enabled: false, variants: { greeting: 'hi', parting: 'bye' }, defaultVariant: 'greeting' },
  'disabled-integer-flag': { enabled: false, variants: { one: 1, ten: 10 }, defaultVariant: 'ten' },
  'disabled-float-flag': { enabled: false, variants: { tenth: 0.1, half: 0.5 }, defaultVariant: 'half' },
  'targeting-key-flag': { enabled: true, variants: { miss: 'miss', hit: 'hit' }, defaultVariant: 'miss', targeting: [{ if: [{ attribute: 'targetingKey', value: HIT }], variant: 'hit' }] },
  'boolean-targeted-zero-flag': targeted({ zero: false, 'non-zero': true }),
  'string-targeted-zero-flag': targeted({ zero: '', 'non-zero': 'str' }),
  'integer-targeted-zero-flag': targeted({ zero: 0, 'non-zero': 1 }),
  'object-targeted-zero-flag': targeted({ zero: {}, 'non-zero': { a: 1 } }),
  'metadata-flag': { enabled: true, variants: bool, defaultVariant: 'on', metadata: { string: '1.0.2', integer: 2, float: 0.1, boolean: true } },
  'undefined-default-flag': { enabled: true, variants: { small: 10, big: 1000 } },
  'no-default-flag-undefined-targeting-variant': { enabled: true, variants: { normal: 'CFO', special: 'CEO' }, targeting: [{ if: [{ attribute: 'email', value: 'jobs@orange.com' }], variant: 'special' }] },
  'plain-on': { enabled: true },
  'plain-off': { enabled: false },
  'a-tenth': { enabled: true, split: [{ variant: 'on', weight: 10 }, { variant: 'off', weight: 90 }] },
  'for-all': { enabled: true, split: [{ variant: 'on', weight: 100 }, { variant: 'off', weight: 0 }] },
  'staff-or-half': { enabled: true, targeting: [{ if: [{ attribute: 'email', operator: 'endsWith', value: '@example.com' }], split: [{ variant: 'on', weight: 1 }] }] }
}

interface Expected { value: JsonValue, reason: string, variant?: string, errorCode?: string, flagMetadata?: object }
type Row = [flag: string, otherwise: JsonValue, expected: Expected, context?: EvaluationContext]

const fixed = (flag: string, otherwise: JsonValue, value: JsonValue, variant: string): Row => [flag, otherwise, { value, variant, reason: 'STATIC' }]
const fails = (flag: string, otherwise: JsonValue, errorCode: string, context?: EvaluationContext): Row => [flag, otherwise, { value: otherwise, reason: 'ERROR', errorCode }, context]
const ballmer = { email: 'ballmer@macrosoft.com' }

const ROWS: Row[] = [
  fixed('boolean-flag', false, true, 'on'), fixed('string-flag', 'bye', 'hi', 'greeting'), fixed('integer-flag', 1, 10, 'ten'), fixed('float-flag', 0.1, 0.5, 'half'),
  fixed('large-integer-flag', 1, 2147483647, 'max-int32'), fixed('huge-integer-flag', 1, 9007199254740991, 'max-safe'),
  fixed('boolean-zero-flag', true, false, 'zero'), fixed('integer-zero-flag', 1, 0, 'zero'), fixed('string-zero-flag', 'fallback', '', 'zero'), fixed('object-zero-flag', { b: 1 }, {}, 'zero'),
  fixed('object-flag', {}, { showImages: true, title: 'Check out these pics!', imagesPerPage: 100 }, 'template'),
  ['string-flag', 'bye', { value: 'hi', reason: 'STATIC', variant: 'greeting' }, { targetingKey: 'f20bd32d' }],
  ['disabled-boolean-flag', false, { value: false, reason: 'DISABLED' }], ['disabled-string-flag', 'bye', { value: 'bye', reason: 'DISABLED' }],
  ['disabled-integer-flag', 1, { value: 1, reason: 'DISABLED' }], ['disabled-float-flag', 0.1, { value: 0.1, reason: 'DISABLED' }],
  ['targeting-key-flag', 'fallback', { value: 'hit', reason: 'TARGETING_MATCH', variant: 'hit' }, { targetingKey: HIT }],
  ['targeting-key-flag', 'fallback', { value: 'miss', reason: 'DEFAULT', variant: 'miss' }, { targetingKey: 'f20bd32d' }],
  ['targeting-key-flag', 'fallback', { value: 'miss', reason: 'DEFAULT', variant: 'miss' }],
  ['boolean-targeted-zero-flag', true, { value: false, reason: 'TARGETING_MATCH', variant: 'zero' }, ballmer],
  ['string-targeted-zero-flag', 'hi', { value: '', reason: 'TARGETING_MATCH', variant: 'zero' }, ballmer],
  ['integer-targeted-zero-flag', 1, { value: 0, reason: 'TARGETING_MATCH', variant: 'zero' }, ballmer],
  ['object-targeted-zero-flag', { a: 1 }, { value: {}, reason: 'TARGETING_MATCH', variant: 'zero' }, ballmer],
  ['boolean-targeted-zero-flag', true, { value: false, reason: 'DEFAULT', variant: 'zero' }, { email: 'ballmer@none.com' }],
  ['integer-targeted-zero-flag', 1, { value: 0, reason: 'DEFAULT', variant: 'zero' }, { email: null }],
  ['metadata-flag', false, { value: true, reason: 'STATIC', variant: 'on', flagMetadata: { string: '1.0.2', integer: 2, float: 0.1, boolean: true } }],
  ['undefined-default-flag', 5, { value: 5, reason: 'DEFAULT' }],
  ['no-default-flag-undefined-targeting-variant', 'nobody', { value: 'nobody', reason: 'DEFAULT' }, ballmer],
  ['no-default-flag-undefined-targeting-variant', 'nobody', { value: 'CEO', reason: 'TARGETING_MATCH', variant: 'special' }, { email: 'jobs@orange.com' }],
  fails('missing-flag', 'fallback', 'FLAG_NOT_FOUND'), fails('x'.repeat(600), false, 'FLAG_NOT_FOUND'),
  ...([false, 1, { a: 1 }] as JsonValue[]).map((otherwise) => fails('string-flag', otherwise, 'TYPE_MISMATCH')),
  ...(['fallback', 1, { a: 1 }] as JsonValue[]).map((otherwise) => fails('boolean-flag', otherwise, 'TYPE_MISMATCH')),
  ...([false, 'fallback', { a: 1 }] as JsonValue[]).map((otherwise) => fails('float-flag', otherwise, 'TYPE_MISMATCH')),
  ...([false, 'fallback', 1] as JsonValue[]).map((otherwise) => fails('object-flag', otherwise, 'TYPE_MISMATCH')),
  fails('wrong-flag', false, 'TYPE_MISMATCH'),
  ['plain-on', false, { value: true, reason: 'STATIC', variant: 'on' }], ['plain-off', true, { value: false, reason: 'DISABLED', variant: 'off' }],
  fails('a-tenth', true, 'TARGETING_KEY_MISSING'), fails('a-tenth', true, 'TARGETING_KEY_MISSING', { targetingKey: '' }),
  ['staff-or-half', false, { value: true, reason: 'SPLIT', variant: 'on' }, { targetingKey: 'ann', email: 'ann@example.com' }],
  ['staff-or-half', true, { value: false, reason: 'DEFAULT', variant: 'off' }, { targetingKey: 'bob' }],
  ['for-all', false, { value: true, reason: 'SPLIT', variant: 'on' }],
  fails('damaged', true, 'PARSE_ERROR')
]

t.test('the behaviours of OpenFeature\'s evaluation suites', async (t) => {
  const source = memorySource()
  const app = await build(t, { source })
  for (const [name, feature] of Object.entries(FLAGS)) await app.configCache.setFeature(name, feature)
  await source.save('features', 'feature:damaged', { enabled: true, split: 'half' })
  const client = await connect(app)
  t.equal(client.providerStatus, ProviderStatus.READY)
  t.equal(client.metadata.providerMetadata.name, 'config-cache')
  for (const [flag, otherwise, expected, context] of ROWS) {
    const ask = { boolean: 'getBooleanDetails', string: 'getStringDetails', number: 'getNumberDetails', object: 'getObjectDetails' }[typeof otherwise as string] as 'getObjectDetails'
    const { errorMessage, ...details } = await client[ask](flag, otherwise, context)
    t.strictSame({ ...details, flagMetadata: { ...details.flagMetadata } }, { flagKey: flag, flagMetadata: {}, ...expected }, `${flag} ${JSON.stringify(otherwise)} ${JSON.stringify(context)}`)
    t.equal(errorMessage !== undefined, expected.errorCode !== undefined)
  }
})

t.test('what a change of a flag is told as, on every instance, and the evaluation after it', async (t) => {
  const shared = { url: sharedRedis(), siteId: uniqueName(), source: memorySource() }
  const [one, other] = [await build(t, shared), await build(t, shared)]
  for (const app of [one, other]) await waitFor(() => app.configCache.mode === 'coherent')
  const client = await connect(other)
  const changed: string[] = []
  client.addHandler(ProviderEvents.ConfigurationChanged, (details) => { changed.push(...details?.flagsChanged ?? []) })
  for (let i = 0; i < 20; i++) {
    const variant = ['foo', 'bar'][i % 2]!
    await one.configCache.setFeature('changing-flag', { enabled: true, variants: { foo: 'foo', bar: 'bar' }, defaultVariant: variant })
    t.equal(await client.getStringValue('changing-flag', 'unset'), variant)
  }
  await waitFor(() => changed.includes('changing-flag'))
  await one.configCache.set('greeting', 'hello')
  t.equal(changed.every((name) => name === 'changing-flag'), true, 'and no other document is a flag')
})

t.test('a source that fails is an error, or stale where that is asked for, until it answers again', async (t) => {
  let isAway = true
  const inner = memorySource()
  const away = async () => { if (isAway) throw new Error('the database is away') }
  const source = { ...bound(inner), load: async (...args: Parameters<typeof inner.load>) => { await away(); return inner.load(...args) }, list: async (...args: Parameters<typeof inner.list>) => { await away(); return inner.list(...args) } }
  // Nothing is kept, so that each read asks the source.
  const app = await build(t, { source, enabled: false })
  await app.configCache.setFeature('boolean-flag', FLAGS['boolean-flag']!)
  const client = await connect(app)
  t.equal(client.providerStatus, ProviderStatus.ERROR)
  t.match(await client.getBooleanDetails('boolean-flag', false), { value: false, reason: 'ERROR', errorCode: 'GENERAL', errorMessage: /away/ })
  isAway = false
  t.match(await client.getBooleanDetails('boolean-flag', false), { value: true, reason: 'STATIC' })
  t.equal(client.providerStatus, ProviderStatus.READY)

  const lenient = await connect(app, new ConfigCacheProvider(app.configCache, { staleOnError: true }))
  t.equal(await lenient.getBooleanValue('boolean-flag', false), true)
  isAway = true
  t.match(await lenient.getBooleanDetails('boolean-flag', false), { value: true, reason: 'STALE', variant: 'on' })
  t.equal(lenient.providerStatus, ProviderStatus.STALE)
  const several = await Promise.all([1, 2, 3].map(() => lenient.getBooleanDetails('boolean-flag', false)))
  t.strictSame(several.map(({ reason }) => reason), ['STALE', 'STALE', 'STALE'], 'each of them is old')
  t.equal(await app.configCache.isFeatureEnabled('boolean-flag', { default: false }), false)
  t.match(await lenient.getBooleanDetails('never-seen', false), { value: false, reason: 'ERROR', errorCode: 'GENERAL' })
  isAway = false
  t.match(await lenient.getBooleanDetails('boolean-flag', false), { value: true, reason: 'STATIC' }, 'what another call was answered with says nothing of this one')
  t.equal(lenient.providerStatus, ProviderStatus.READY)
})

const bound = (source: ReturnType<typeof memorySource>) => ({ save: source.save.bind(source), remove: source.remove.bind(source) })

t.test('shares are stable by key, grow without taking anybody back, and are what their weights say', async (t) => {
  // Made with another implementation of SHA-256: a change of these moves every user.
  for (const [seed, key, bucket] of VECTORS) t.equal(bucketOf(seed, key).toFixed(9), bucket, `${seed} ${key}`)
  for (const key of [123, 1e21, true]) t.equal(bucketOf('seed', key), bucketOf('seed', String(key)), 'as an evaluation places it')
  const flag = (percentage: number): Feature => ({ enabled: true, split: [{ variant: 'on', weight: percentage }, { variant: 'off', weight: 100 - percentage }] })
  const isOn = (percentage: number, key: string, name = 'roll-out') => evaluate(name, flag(percentage), { targetingKey: key }).value === true
  fc.assert(fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), fc.nat(100), fc.nat(100), (key, a, b) => {
    const [few, many] = a < b ? [a, b] : [b, a]
    return (!isOn(few, key) || isOn(many, key)) && !isOn(0, key) && isOn(100, key)
  }))
  const keys = Array.from({ length: 10_000 }, (_, i) => `user-${i}`)
  for (const percentage of [1, 10, 50]) {
    const on = keys.filter((key) => isOn(percentage, key)).length
    t.ok(Math.abs(on - 100 * percentage) < 4 * Math.sqrt(10_000 * (percentage / 100) * (1 - percentage / 100)), `${percentage}%: ${on} of 10000`)
  }
  const both = keys.filter((key) => isOn(10, key) && isOn(10, key, 'another')).length
  t.ok(both > 50 && both < 150, `${both} of 10000 are in the tenth of two flags`)
  const twins = { enabled: true, seed: 'same', split: [{ variant: 'on', weight: 1 }, { variant: 'off', weight: 1 }] }
  t.ok(keys.slice(0, 100).every((targetingKey) => evaluate('a', twins, { targetingKey }).value === evaluate('b', twins, { targetingKey }).value))
})

t.test('what conditions look at', async (t) => {
  const context = { targetingKey: 'ann', plan: 'pro', age: 42, beta: true, groups: ['a', 'b'], since: '2026-03-01T00:00:00Z', seen: new Date('2026-06-01'), user: { country: 'DE' }, 'a.b': 1, empty: null }
  const rows: Array<[condition: Omit<FeatureCondition, 'attribute'> & { attribute?: string }, holds: boolean]> = [
    [{ attribute: 'plan', value: 'pro' }, true], [{ attribute: 'plan', value: ['free', 'pro'] }, true], [{ attribute: 'plan', value: 'Pro' }, false], [{ attribute: 'plan', value: 'pro', not: true }, false],
    [{ attribute: 'age', value: 42 }, true], [{ attribute: 'age', value: '42' }, false], [{ attribute: 'beta', value: true }, true], [{ attribute: 'groups', value: ['b', 'c'] }, true], [{ attribute: 'groups', value: 'c', not: true }, true],
    [{ attribute: 'missing', value: 1 }, false], [{ attribute: 'missing', value: 1, not: true }, false], [{ attribute: 'empty', value: 1, not: true }, false],
    [{ attribute: 'missing', operator: 'exists', not: true }, true], [{ attribute: 'plan', operator: 'exists' }, true],
    [{ attribute: 'user.country', value: ['DE', 'AT'] }, true], [{ attribute: 'a.b', value: 1 }, true], [{ attribute: 'constructor.name', value: 'Object' }, false], [{ attribute: '__proto__', operator: 'exists' }, false],
    [{ attribute: 'plan', operator: 'startsWith', value: 'p' }, true], [{ attribute: 'plan', operator: 'endsWith', value: ['x', 'ro'] }, true], [{ attribute: 'plan', operator: 'contains', value: 'r' }, true], [{ attribute: 'age', operator: 'contains', value: '4' }, false],
    [{ attribute: 'age', operator: 'atLeast', value: 42 }, true], [{ attribute: 'age', operator: 'lessThan', value: 42 }, false], [{ attribute: 'age', operator: 'greaterThan', value: 41.5 }, true], [{ attribute: 'age', operator: 'atMost', value: '99' }, false],
    [{ attribute: 'since', operator: 'lessThan', value: '2026-03-02' }, true], [{ attribute: 'seen', operator: 'greaterThan', value: '2026-05-31T23:59:59Z' }, true], [{ attribute: 'plan', operator: 'lessThan', value: 'q' }, false]
  ]
  for (const [condition, holds] of rows) {
    const { value } = evaluate('x', { enabled: true, targeting: [{ if: [condition as FeatureCondition], variant: 'on' }] }, context)
    t.equal(value, holds, JSON.stringify(condition))
  }
  const ordered: Feature = { enabled: true, variants: { a: 1, b: 2 }, targeting: [{ if: [{ attribute: 'plan', value: 'pro' }, { attribute: 'age', value: 1 }], variant: 'a' }, { if: [{ attribute: 'plan', value: 'pro' }], variant: 'b' }] }
  t.match(evaluate('x', ordered, context), { value: 2, variant: 'b', reason: 'TARGETING_MATCH' })
})

t.test('a definition that cannot be is refused at every door, and flags without rules are what they were', async (t) => {
  const source = memorySource()
  const app = await build(t, { authorize: () => true, source })
  const condition = (operator: string, value: unknown) => ({ enabled: true, targeting: [{ if: [{ attribute: 'a', operator, value }], variant: 'on' }] })
  const bad: Array<[feature: object, message: RegExp]> = [
    [{}, /enabled is missing/], [{ enabled: 'yes' }, /enabled must be/], [{ enabled: true, variants: {} }, /variants/], [{ enabled: true, variants: { a: 1, b: 'x' } }, /one type, not of number and string/],
    [{ enabled: true, defaultVariant: 'maybe' }, /defaultVariant names "maybe"/], [{ enabled: true, variants: { a: 1 }, defaultVariant: 'constructor' }, /names "constructor"/],
    [{ enabled: true, split: [] }, /split/], [{ enabled: true, split: [{ variant: 'on', weight: 0 }] }, /weight above 0/], [{ enabled: true, split: [{ variant: 'on', weight: 1.5 }] }, /split.0.weight/], [{ enabled: true, split: [{ variant: 'half', weight: 1 }] }, /split.0.variant names/],
    [{ enabled: true, targeting: [{ if: [], variant: 'on' }] }, /targeting.0.if/], [{ enabled: true, targeting: [{ if: [{ attribute: 'a', value: 1 }] }] }, /targeting.0 must have a variant, or a split/],
    [{ enabled: true, targeting: [{ if: [{ attribute: 'a' }], variant: 'on' }] }, /targeting.0.if.0.value is missing/], [{ enabled: true, targeting: [{ if: [{ attribute: 'a', operator: 'matches', value: 'x' }], variant: 'on' }] }, /operator/],
    [{ enabled: true, split: [{ variant: 'on', weight: 20 }] }, /split is one share alone, .* other 80 too/], [{ enabled: true, targeting: [{ if: [{ attribute: 'a', value: 1 }], split: [{ variant: 'on', weight: 99 }] }] }, /targeting.0.split is one share alone/],
    [condition('startsWith', 5), /targeting.0.if.0.value must be text/], [condition('contains', ['a', true]), /must be text/], [condition('lessThan', 'soon'), /must be a number or a date/], [condition('atLeast', '2026-13-45'), /must be a number or a date/],
    [condition('exists', 1), /of no use/], [Object.assign(['on'], { enabled: true }), /must be an object/]
  ]
  const code = 'FST_ERR_CONFIG_CACHE_INVALID_FEATURE'
  const key = 'config:features:feature:x'
  const never = async () => t.fail('must not run')
  for (const [feature, message] of bad) {
    const refused = { code, statusCode: 400, message }
    await t.rejects(app.configCache.setFeature('x', feature as Feature), refused, JSON.stringify(feature))
    await t.rejects(app.configCache.set('feature:x', feature, { collection: 'features' }), refused)
    await t.rejects(app.configCache.write({ keys: key, values: { [key]: feature } }, never), refused)
    await app.configCache.write({ keys: key, values: () => ({ [key]: feature }) }, async () => {})
    for (const [url, payload] of [['/api/1/features/x', feature], ['/api/1/config/features/feature:x', { value: feature }]] as const) {
      const answer = await app.inject({ method: 'PUT', url, payload })
      // Without a boolean `enabled` the schema of the route says so.
      t.match(answer.json(), { success: false, statusCode: 400, code: /^FST_ERR_(CONFIG_CACHE_INVALID_FEATURE|VALIDATION)$/ }, `${url} ${JSON.stringify(feature)}`)
    }
  }
  for (const nothing of [null, undefined, 'on', 7]) await t.rejects(app.configCache.setFeature('x', nothing as never), { code })
  t.equal(await app.configCache.getFeature('x'), null)
  t.strictSame(await source.list('features', '*'), [], 'nothing was written')
  t.match((await app.inject({ method: 'PUT', url: '/api/1/config/features/x', payload: { value: { enabled: true } } })).json(), { statusCode: 400, code: 'FST_ERR_CONFIG_CACHE_INVALID_KEY', error: /feature:/ }, 'nobody would read it as a flag')
  await app.configCache.set('feature:x', null, { collection: 'features' })
  await source.save('features', 'feature:damaged', { enabled: true, split: 'half' })
  await source.save('features', 'feature:text', 'on')
  await source.save('features', 'feature:quoted', { enabled: 'true' })
  for (const name of ['damaged', 'text', 'quoted']) {
    await t.rejects(app.configCache.isFeatureEnabled(name), { code: 'FST_ERR_CONFIG_CACHE_BROKEN_FEATURE', statusCode: 500, message: new RegExp(name) }, 'who asks is not to blame')
    t.equal(await app.configCache.isFeatureEnabled(name, { default: true }), true, 'written behind the cache: the default')
  }
  t.match(app.configCache.stats(), { stale: 3 })
  await app.configCache.setFeature('plain', { enabled: true, note: 'ours', rules: 7 })
  t.strictSame([await app.configCache.getFeature('plain'), await app.configCache.isFeatureEnabled('plain')], [{ enabled: true, note: 'ours', rules: 7 }, true])
  t.doesNotThrow(() => definitionOf({ enabled: true, split: undefined }))
  for (const [name, feature] of Object.entries(FLAGS)) await app.configCache.setFeature(name, feature)
  const { configCache: cache } = app
  t.strictSame([await cache.isFeatureEnabled('boolean-flag'), await cache.isFeatureEnabled('boolean-zero-flag'), await cache.isFeatureEnabled('string-flag'), await cache.isFeatureEnabled('disabled-boolean-flag')], [true, false, true, false])
  t.strictSame([await cache.isFeatureEnabled('staff-or-half', { context: { targetingKey: 'ann', email: 'a@example.com' } }), await cache.isFeatureEnabled('staff-or-half'), await cache.isFeatureEnabled('a-tenth')], [true, false, false])
  t.throws(() => new ConfigCacheProvider(cache, { staleOnErrors: true } as never), { code: 'FST_ERR_CONFIG_CACHE_INVALID_OPTION', message: /staleOnErrors is unknown/ })
  await t.rejects(cache.isFeatureEnabled('a-tenth', { context: 'ann' as never }), { code: 'FST_ERR_CONFIG_CACHE_INVALID_OPTION' })
})

t.test('a time without a zone is the same moment on every machine', async (t) => {
  const { TZ } = process.env
  process.env.TZ = 'Asia/Tokyo'
  t.teardown(() => { if (TZ === undefined) delete process.env.TZ; else process.env.TZ = TZ })
  for (const operator of ['atLeast', 'atMost'] as const) {
    for (const [value, at] of [['2026-03-01T12:00:00', '2026-03-01T12:00:00Z'], ['2026-03-01T13:00+01:00', '2026-03-01T12:00'], ['2026-03-01', '2026-03-01T00:00']] as const) {
      t.ok(holds({ attribute: 'at', operator, value }, { at }), `${at} ${operator} ${value}`)
    }
  }
  t.notOk(holds({ attribute: 'at', operator: 'atMost', value: '2026-03-01' }, { at: '2026-03-01Tsoon' }))
})
