import type {} from '@fastify/mongodb'
import { type ConfigSource, memorySource, mongoSource } from '@jpulse/config-cache'
import type { FastifyInstance } from 'fastify'
import type {} from 'server-kit'

/** The longest that MongoDB may work on one operation; config-cache wants it below its `blockTtlMs`. */
const OPERATION_MS = 3000

/** Where configuration lives. While MongoDB is away each operation fails at once, not after the driver's own wait. */
export function configSource (app: FastifyInstance): ConfigSource {
  const link = app.mongoLink
  if (link === undefined) return memorySource()
  const source = mongoSource(app.mongo.db!, { maxTimeMs: OPERATION_MS })
  return {
    load: (collection, key) => link.use(() => source.load(collection, key)),
    save: (collection, key, value) => link.use(() => source.save(collection, key, value)),
    update: (collection, key, change) => link.use(() => source.update!(collection, key, change)),
    remove: (collection, key) => link.use(() => source.remove(collection, key)),
    list: (collection, glob, limit) => link.use(() => source.list(collection, glob, limit))
  }
}
