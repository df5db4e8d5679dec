import type { FastifyBaseLogger } from 'fastify'
import type { RedisLink } from '@jpulse/redis-link'
import { Acknowledgements } from './acknowledgements.ts'
import type { Coherence } from './coherence.ts'
import { Connection } from './connection.ts'
import { Epochs } from './epochs.ts'
import type { Handed } from './handed.ts'
import { randomId, uniqueId } from './id.ts'
import { CacheKeys } from './keys.ts'
import type { L1 } from './l1.ts'
import { Member } from './member.ts'
import { clearText } from './message.ts'
import type { ResolvedOptions } from './options.ts'
import { PendingOps } from './pending.ts'
import { RedisL2 } from './redis-l2.ts'
import { RedisWritePath } from './redis-write-path.ts'
import { scriptArgs } from './scripts.ts'
import type { ConfigSource } from './source.ts'
import { SourceFence } from './source-fence.ts'
import type { CacheMode } from './stats.ts'
import { pause } from './time.ts'
import type { View } from './view.ts'
import type { WritePath } from './write-path.ts'

/** A member and a writer of the cluster that one Redis makes. */
export class RedisCoherence implements Coherence {
  readonly l2: RedisL2
  readonly #connection: Connection
  readonly #keys: CacheKeys
  readonly #view: View
  readonly #l1: L1
  readonly #member: Member
  readonly #redisWrites: RedisWritePath
  readonly #fence: SourceFence | null
  readonly #isMember: boolean

  constructor (link: RedisLink, view: View, l1: L1, source: ConfigSource, options: ResolvedOptions, log: FastifyBaseLogger) {
    const id = randomId()
    const keys = new CacheKeys((...parts) => link.key(...parts))
    const connection = new Connection(link, link.subscriber()!, () => view.endLease())
    const pending = new PendingOps()
    const epochs = new Epochs()
    const acks = new Acknowledgements(id, connection, keys, (opId) => pending.acknowledge(id, [opId]))
    this.#view = view
    this.#l1 = l1
    this.#keys = keys
    this.#connection = connection
    this.#isMember = options.enabled
    this.#redisWrites = new RedisWritePath({ id, connection, keys, epochs, pending, options, log })
    this.#fence = options.whenUnreachable === 'source-fence'
      ? new SourceFence({ id, source, connection, keys, writes: this.#redisWrites, options, log })
      : null
    this.#member = new Member({
      id,
      connection,
      keys,
      view,
      epochs,
      acks,
      options,
      log,
      onClear: () => l1.clear(),
      mayLease: async () => await this.#fence?.isDown() ?? true
    })
    this.l2 = new RedisL2(connection, keys, this.#member, options.redisTimeoutMs, options.generationTtlMs)
  }

  async start (): Promise<void> {
    await this.#redisWrites.start()
    if (this.#isMember) await this.#member.start()
  }

  get mode (): CacheMode {
    return this.#view.isLeased ? 'coherent' : 'bypass'
  }

  write<T> (tags: readonly string[], work: () => Promise<T>, handOn?: (value: T) => readonly Handed[]): Promise<T> {
    const path: WritePath = this.#fence ?? this.#redisWrites
    return path.write(tags, work, handOn)
  }

  held () {
    return { entries: this.#l1.size, bytes: this.#l1.bytes, blocks: this.#view.blocks }
  }

  async clear (): Promise<void> {
    this.#l1.clear()
    if (!this.#connection.isUp) return
    const space = uniqueId()
    await this.#connection.run((client) => client.configCacheClearV1(...scriptArgs(this.#keys.core, [uniqueId(), this.#keys.bus, clearText(space), space])))
  }

  /** Bounded: a frozen Redis answers nothing. */
  async close (): Promise<void> {
    this.#view.endLease()
    await Promise.race([Promise.allSettled([this.#member.close(), this.#fence?.close(), this.#redisWrites.close()]), pause(1000)])
    this.#connection.close()
  }
}
