import type { FastifyBaseLogger } from 'fastify'
import type { RedisLink } from '@jpulse/redis-link'
import { uniqueId } from '../id.ts'
import { FST_ERR_CONFIG_CACHE_NOT_CLEARED } from '../errors.ts'
import type { Notices } from '../notices.ts'
import type { ResolvedOptions } from '../options.ts'
import type { ConfigSource } from '../sources/index.ts'
import type { CacheMode, Counters, Slowest } from '../stats.ts'
import { now, pause } from '../time.ts'
import type { WrittenValue } from '../values.ts'
import { Acknowledgements, PendingOps } from './acknowledgements.ts'
import type { Coherence, WritePath } from './coherence.ts'
import { Blocks, reasonOf } from './blocks.ts'
import { Connection } from './connection.ts'
import { DocumentClaim } from './document-claim.ts'
import { Maintenance, Epochs } from './epochs.ts'
import { SourceFence } from './fence.ts'
import { WritesHere } from './here.ts'
import { Member } from './member.ts'
import { clearText } from './messages.ts'
import { AWAY, LAPSED, Mode } from './mode.ts'
import { clearScript } from './scripts.ts'
import type { View } from './view.ts'
import { ServerRun } from './server-run.ts'
import { RedisWritePath } from './writes.ts'

/** Longest wait for an own message; a clear that another one overtook waits for it in vain, and what it waited for comes with the next lease. */
const HEARD_MS = 500

/** What the shared level has to know: whom to ask, and which values are of now. */
export interface SharedState {
  readonly connection: Connection
  /** Nonce of the epoch that this instance is in. */
  readonly nonce: string | null
  /** Name under which the values are kept now. */
  readonly space: string
}

/** A member and a writer of the cluster that one Redis makes. */
export class RedisCoherence implements Coherence {
  /** Which process has the documents; null where the source is shared by all. */
  readonly claim: DocumentClaim | null
  readonly #connection: Connection
  readonly #view: View
  readonly #mode: Mode
  readonly #member: Member
  readonly #blocks: Blocks
  readonly #redisWrites: RedisWritePath
  readonly #writesHere: WritesHere
  readonly #fence: SourceFence | null
  readonly #isMember: boolean

  constructor (link: RedisLink, view: View, source: ConfigSource, options: ResolvedOptions, counters: Counters, notices: Notices, log: FastifyBaseLogger) {
    const connection = new Connection(link, () => view.endLease())
    const pending = new PendingOps()
    const epochs = new Epochs(options)
    const serverRun = new ServerRun(connection)
    this.#blocks = new Blocks(connection, epochs, pending, serverRun, options, (opId) => view.release(opId), log)
    const acks = new Acknowledgements(connection, (opId) => pending.acknowledge(connection.id, [opId]), () => {
      connection.doubt()
      this.#member.renewNow()
    })
    this.#view = view
    this.#mode = new Mode(log, counters)
    this.#connection = connection
    this.#isMember = options.enabled
    this.claim = source.isPrivate === true ? new DocumentClaim(connection, source, options) : null
    this.#writesHere = new WritesHere(view, options.blockTtlMs)
    this.#redisWrites = new RedisWritePath(connection, pending, this.#blocks, options, notices)
    this.#fence = options.whenUnreachable === 'source-fence'
      ? new SourceFence(connection, epochs, source, this.#redisWrites, options, log)
      : null
    const mayLease = async () => await this.#fence?.isDown() ?? true
    this.#member = new Member(connection, view, acks, new Maintenance(connection, epochs, options.generationTtlMs, log), serverRun, mayLease, options, counters, this.#mode)
  }

  async start (): Promise<void> {
    await this.#redisWrites.start()
    if (this.#isMember) await this.#member.start()
  }

  get shared (): SharedState {
    return this.#member
  }

  get slowest (): Slowest | null {
    return this.#blocks.slowest
  }

  get reason (): string | null {
    if (this.#view.isLeased) return null
    return this.#isMember ? this.#mode.reason ?? LAPSED : 'the option enabled is false'
  }

  get mode (): CacheMode {
    return this.#view.isLeased ? 'coherent' : 'bypass'
  }

  write<T> (tags: readonly string[], work: () => Promise<T>, valuesOf?: (value: T) => readonly WrittenValue[]): Promise<T> {
    const path: WritePath = this.#fence ?? this.#redisWrites
    return path.write(tags, work, valuesOf)
  }

  writeHere<T> (tags: readonly string[], work: () => Promise<T>): Promise<T> {
    return this.#writesHere.write(tags, work)
  }

  async clear (): Promise<void> {
    this.#view.clear()
    const { isUp, keys } = this.#connection
    const space = uniqueId()
    try {
      if (!isUp) throw new Error(AWAY)
      await this.#connection.script(clearScript, keys.core, uniqueId(), keys.bus, clearText(space), space)
    } catch (err) {
      const failed = new FST_ERR_CONFIG_CACHE_NOT_CLEARED(reasonOf(err))
      failed.cause = err
      throw failed
    }
    // Until its message has come this process would read what was before in Redis.
    for (const until = now() + HEARD_MS; this.#member.space !== space && this.#view.isLeased && now() < until;) await pause(1)
    if (this.#isMember && this.#member.space !== space) this.#member.startOver()
  }

  /** Bounded: a frozen Redis answers nothing. */
  async close (): Promise<void> {
    this.#view.endLease()
    // While a document is being written it is still ours.
    const written = this.#redisWrites.close().then(() => this.claim?.close())
    await Promise.race([Promise.allSettled([this.#member.close(), this.#fence?.close(), written]).then(() => this.#connection.unsubscribe()), pause(1000)])
    this.#connection.close()
  }
}
