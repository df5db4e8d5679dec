import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { answers, guard, ok, prepareScope } from '@jpulse/plugin-kit'
import type { Feature } from '../calls.ts'
import type { ConfigCache } from '../config-cache.ts'
import { FST_ERR_CONFIG_CACHE_FORBIDDEN, FST_ERR_CONFIG_CACHE_NOT_FOUND, FST_ERR_CONFIG_CACHE_UNAUTHORIZED } from '../errors.ts'
import type { ResolvedOptions } from '../options.ts'

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
  unkept: Counter,
  stale: Counter,
  unknown: Counter
})
const Document = Type.Object({ collection: Type.String(), key: Type.String(), value: Type.Unknown() })

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
      addDocuments(guarded, cache)
      addFeatures(guarded, cache)
      addCare(guarded, cache)
    })
  }, { prefix: options.routePrefix })
}

function addHealth (scope: FastifyInstance, cache: ConfigCache): void {
  const schema = { response: answers(Type.Object({ status: Type.String(), mode: Type.String() })) }
  scope.get('/cache/health', { schema }, async () => ok({ status: 'ok', mode: cache.mode }))
}

function addDocuments (scope: FastifyInstance, cache: ConfigCache): void {
  const path = '/config/:collection/:key'
  scope.get<Located>(path, { schema: { params: Params, response: answers(Document) } }, async ({ params: { collection, key } }) => {
    const value = await cache.get(key, { collection })
    if (value === null) throw new FST_ERR_CONFIG_CACHE_NOT_FOUND(`${collection}/${key}`)
    return ok({ collection, key, value })
  })
  const body = Type.Object({ value: Type.Unknown() }, { additionalProperties: false })
  scope.put<Located & { Body: { value: unknown } }>(path, { schema: { params: Params, body, response: answers(Document) } }, async ({ params: { collection, key }, body: { value } }) => {
    await cache.set(key, value, { collection })
    return ok({ collection, key, value })
  })
  const response = answers(Type.Object({ removed: Type.Boolean() }))
  scope.delete<Located>(path, { schema: { params: Params, response } }, async ({ params: { collection, key } }) =>
    ok({ removed: await cache.delete(key, { collection }) }))
}

function addFeatures (scope: FastifyInstance, cache: ConfigCache): void {
  const response = answers(Type.Object({ name: Type.String(), enabled: Type.Boolean(), feature: Type.Unknown() }))
  scope.get<Named>('/features/:name', { schema: { params: Name, response } }, async ({ params: { name } }) => {
    const feature = await cache.getFeature(name)
    return ok({ name, enabled: feature?.enabled === true, feature })
  })
  scope.put<Named & { Body: Feature }>('/features/:name', { schema: { params: Name, body: Flag, response } }, async ({ params: { name }, body }) => {
    await cache.setFeature(name, body)
    return ok({ name, enabled: body.enabled, feature: body })
  })
}

function addCare (scope: FastifyInstance, cache: ConfigCache): void {
  scope.get('/cache/stats', { schema: { response: answers(Stats) } }, async () => ok(cache.stats()))
  scope.post('/cache/clear', { schema: { response: answers(Type.Object({ cleared: Type.Boolean() })) } }, async () => {
    await cache.clear()
    return ok({ cleared: true })
  })
}
