import type {} from '@fastify/mongodb'
import { type ConfigSource, memorySource, mongoSource } from '@jpulse/config-cache'
import type {} from '@jpulse/redis-link'
import type { FastifyInstance } from 'fastify'
import type {} from 'server-kit'

/** The longest that MongoDB may work on one operation; config-cache wants it below its `blockTtlMs`. */
const OPERATION_MS = 3000

/** Where configuration lives. While MongoDB is away each operation fails at once, not after the driver's own wait. */
export function configSource (app: FastifyInstance): ConfigSource {
  const link = app.mongoLink
  if (link === undefined) return memorySource()
  const source = mongoSource(app.mongo.db!, { maxTimeMs: OPERATION_MS })
  /** MongoDB compares and writes in one step. FerretDB does not: of two who write at the same moment one would undo what the other did. */
  const alone = <T>(collection: string, key: string, write: () => Promise<T>): Promise<T> => app.redisLink.using(`document:${collection}:${key}`, {}, () => link.use(write))
  return {
    load: (collection, key) => link.use(() => source.load(collection, key)),
    save: (collection, key, value) => alone(collection, key, () => source.save(collection, key, value)),
    update: (collection, key, change) => alone(collection, key, () => source.update!(collection, key, change)),
    remove: (collection, key) => alone(collection, key, () => source.remove(collection, key)),
    list: (collection, glob, limit) => link.use(() => source.list(collection, glob, limit))
  }
}
