import type { RedisLink } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import type { Listener } from '../delivery/listener.ts'
import { MemoryPresence, type Presence, type PresenceSink } from './presence.ts'
import { RedisPresence, type PresenceContext } from './redis-presence.ts'

/** Makes the presence of each namespace of this process. */
export class Presences {
  readonly #instanceId: string
  /** Null where no Redis is configured. */
  readonly #context: PresenceContext | null

  constructor (link: RedisLink, { bootId, instanceId }: { bootId: string, instanceId: string }, leaseMs: number, listener: Listener, log: FastifyBaseLogger) {
    const subscriber = link.subscriber()
    this.#instanceId = instanceId
    this.#context = subscriber === null ? null : { link, subscriber, listener, token: tokenOf(bootId, instanceId), leaseMs, log }
  }

  make (namespace: string, sink: PresenceSink): Presence {
    return this.#context === null ? new MemoryPresence(this.#instanceId, sink) : new RedisPresence(namespace, this.#context, sink)
  }
}

/** Names an instance in the presence. */
export function tokenOf (bootId: string, instanceId: string): string {
  return `${bootId}/${instanceId}`
}
