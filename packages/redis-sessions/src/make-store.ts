import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { Keys } from './keys.ts'
import { MemoryStore } from './memory-store.ts'
import type { ResolvedOptions } from './options.ts'
import { RedisStore } from './redis-store.ts'
import type { SessionStore } from './store.ts'

/** The store that the options and the state of the link ask for. */
export function makeStore ({ redisLink }: FastifyInstance, options: ResolvedOptions, _log: FastifyBaseLogger): SessionStore {
  if (redisLink.state === 'disabled') return new MemoryStore(options)
  const keys = new Keys((...parts) => redisLink.key(...parts))
  return new RedisStore(redisLink, keys, options)
}
