import type { AppCluster, InternalBroadcast } from '@jpulse/cluster-broadcast'
import type { RedisLink } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import type { History } from '../options.ts'
import type { Carrier, Sink } from './carrier.ts'
import type { Listener } from './listener.ts'
import { LiveCarrier } from './live-carrier.ts'
import { LogCarrier, type LogContext } from './log-carrier.ts'
import { MemoryCarrier, MemoryLog } from './memory-carrier.ts'
import { VolatileCarrier } from './volatile-carrier.ts'

/** Longest that `close()` waits for messages in flight. */
const SETTLE_MS = 500

/** Makes the carrier of each namespace of this process, and keeps what they share. */
export class Carriers {
  readonly #link: RedisLink
  readonly #bus: InternalBroadcast
  readonly #listener: Listener
  /** Null where no Redis is configured. */
  readonly #logContext: LogContext | null
  /** By `<id of the history>:<namespace>`. Kept when the hub of a namespace goes, so that its clients can still resume. */
  readonly #memoryLogs = new Map<string, MemoryLog>()

  /** @param waitMs longest that a message of a namespace with history waits for Redis to return */
  constructor (link: RedisLink, appCluster: AppCluster, waitMs: number, listener: Listener, log: FastifyBaseLogger) {
    this.#link = link
    this.#bus = appCluster.internal('ws')
    this.#listener = listener
    this.#logContext = link.client === null ? null : { bus: this.#bus, link, listener, bootId: appCluster.bootId, waitMs, log }
  }

  make (namespace: string, history: History | null, sink: Sink): Carrier {
    if (history === null) return new LiveCarrier(namespace, this.#bus, this.#link, this.#listener, sink)
    return new VolatileCarrier(this.#log(namespace, history, sink), namespace, this.#bus, this.#listener, sink)
  }

  #log (namespace: string, history: History, sink: Sink): Carrier {
    if (this.#logContext !== null) return new LogCarrier(namespace, this.#logContext, history, sink)
    const key = `${history.id}:${namespace}`
    const log = this.#memoryLogs.get(key) ?? new MemoryLog(history)
    this.#memoryLogs.set(key, log)
    return new MemoryCarrier(log, history, sink)
  }

  /** Drops the logs that are too old to resume from. */
  sweep (isUsed: (namespace: string, historyId: string) => boolean): void {
    for (const [key, log] of this.#memoryLogs) {
      const colon = key.indexOf(':')
      if (log.stale && !isUsed(key.slice(colon + 1), key.slice(0, colon))) this.#memoryLogs.delete(key)
    }
  }

  /** Resolves when nothing is on its way, or after a bound. */
  async settle (carriers: readonly Carrier[]): Promise<void> {
    const end = performance.now() + SETTLE_MS
    while (carriers.some(({ idle }) => !idle) && this.#link.isUp && performance.now() < end) await this.#link.outages.changed(10)
  }
}
