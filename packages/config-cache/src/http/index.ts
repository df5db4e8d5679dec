import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { answers, guard, ok, prepareScope } from '@jpulse/plugin-kit'
import type { Feature } from '../features/index.ts'
import type { ConfigCache } from '../config-cache.ts'
import { FST_ERR_CONFIG_CACHE_FORBIDDEN, FST_ERR_CONFIG_CACHE_NOT_FOUND, FST_ERR_CONFIG_CACHE_UNAUTHORIZED } from '../errors.ts'
import type { ResolvedOptions } from '../options.ts'
import { setEtag, versionsOf } from './conditions.ts'

const Params = Type.Object({ collection: Type.String({ minLength: 1, maxLength: 64 }), key: Type.String({ minLength: 1, maxLength: 512 }) })
const Name = Type.Object({ name: Type.String({ minLength: 1, maxLength: 400 }) })
const Flag = Type.Object({ enabled: Type.Boolean() }, { additionalProperties: true })
const Counter = Type.Integer({ minimum: 0 })
const Stats = Type.Object({
  mode: Type.String(),
  reason: Type.Union([Type.String(), Type.Null()]),
  slowest: Type.Union([Type.Object({ instance: Type.String(), waitMs: Type.Number() }), Type.Null()]),
  hitRate: Type.Number(),
  entries: Counter,
  bytes: Counter,
  blocks: Counter,
  l1Hits: Counter,
  l2Hits: Counter,
  joined: Counter,
  loads: Counter,
  writes: Counter,
  refused: Counter,
  unconfirmed: Counter,
  foreign: Counter,
  unkept: Counter,
  unshared: Counter,
  conflicts: Counter,
  interruptions: Counter,
  stale: Counter,
  unknown: Counter
})
const Document = Type.Object({ collection: Type.String(), key: Type.String(), value: Type.Unknown() })

const Conditions = Type.Object({
  'if-match': Type.Optional(Type.String({ description: 'ETag that was read: the write happens only where it is the present one' })),
  'if-none-match': Type.Optional(Type.String({ description: '* to create; ETags to be told whether something changed' }))
})
const with304 = <T extends object>(responses: T) => ({ ...responses, 304: Type.Null({ description: 'What the request knows is current' }) })

interface Located { Params: { collection: string, key: string } }
interface Named { Params: { name: string } }

/** Registers the routes under `<routePrefix>`. Without `authorize` only `/cache/health`, which reveals nothing. */
export async function addRoutes (fastify: FastifyInstance, cache: ConfigCache, options: ResolvedOptions): Promise<void> {
  const { authorize } = options
  await fastify.register(async (scope) => {
    prepareScope(scope, 'FST_ERR_CONFIG_CACHE')
    addHealth(scope, cache)
    if (authorize === undefined) {
      fastify.log.info({ plugin: '@jpulse/config-cache' }, 'only the health route exists: the others need the option authorize')
      return
    }
    await scope.register(async (guarded) => {
      guarded.addHook('onRequest', guard(authorize, { Unauthorized: FST_ERR_CONFIG_CACHE_UNAUTHORIZED, Forbidden: FST_ERR_CONFIG_CACHE_FORBIDDEN }))
      addDocuments(guarded, cache, options.requireIfMatch)
      addFeatures(guarded, cache, options.requireIfMatch)
      addMaintenance(guarded, cache)
    })
  }, { prefix: options.routePrefix })
}

function addHealth (scope: FastifyInstance, cache: ConfigCache): void {
  const schema = { summary: 'Whether the cache works', response: answers(Type.Object({ status: Type.String(), mode: Type.String() })) }
  scope.get('/cache/health', { schema }, async () => ok({ status: 'ok', mode: cache.mode }))
}

function addDocuments (scope: FastifyInstance, cache: ConfigCache, requireIfMatch: boolean): void {
  const path = '/config/:collection/:key'
  scope.get<Located>(path, { schema: { params: Params, headers: Conditions, response: with304(answers(Document)) } }, async (request, reply) => {
    const { collection, key } = request.params
    const value = await cache.get(key, { collection })
    if (value === null) throw new FST_ERR_CONFIG_CACHE_NOT_FOUND(`${collection}/${key}`)
    return setEtag(request, reply, value) ? reply.code(304).send() : ok({ collection, key, value })
  })
  const body = Type.Object({ value: Type.Unknown() }, { additionalProperties: false })
  scope.put<Located & { Body: { value: unknown } }>(path, { schema: { params: Params, headers: Conditions, body, response: answers(Document) } }, async (request, reply) => {
    const { params: { collection, key }, body: { value } } = request
    await cache.set(key, value, { collection, ...versionsOf(request, requireIfMatch) })
    setEtag(request, reply, value)
    return ok({ collection, key, value })
  })
  const response = answers(Type.Object({ removed: Type.Boolean() }))
  scope.delete<Located>(path, { schema: { params: Params, headers: Conditions, response } }, async (request) => {
    const { collection, key } = request.params
    return ok({ removed: await cache.delete(key, { collection, ...versionsOf(request, requireIfMatch) }) })
  })
}

function addFeatures (scope: FastifyInstance, cache: ConfigCache, requireIfMatch: boolean): void {
  const path = '/features/:name'
  const response = answers(Type.Object({ name: Type.String(), enabled: Type.Boolean(), feature: Type.Unknown() }))
  scope.get<Named>(path, { schema: { params: Name, headers: Conditions, response: with304(response) } }, async (request, reply) => {
    const { name } = request.params
    const feature = await cache.getFeature(name)
    return setEtag(request, reply, feature) ? reply.code(304).send() : ok({ name, enabled: feature?.enabled === true, feature })
  })
  scope.put<Named & { Body: Feature }>(path, { schema: { params: Name, headers: Conditions, body: Flag, response } }, async (request, reply) => {
    const { params: { name }, body } = request
    await cache.setFeature(name, body, versionsOf(request, requireIfMatch))
    setEtag(request, reply, body)
    return ok({ name, enabled: body.enabled, feature: body })
  })
}

function addMaintenance (scope: FastifyInstance, cache: ConfigCache): void {
  scope.get('/cache/stats', { schema: { response: answers(Stats) } }, async () => ok(cache.stats()))
  scope.post('/cache/clear', { schema: { response: answers(Type.Object({ cleared: Type.Boolean() })) } }, async () => {
    await cache.clear()
    return ok({ cleared: true })
  })
}
