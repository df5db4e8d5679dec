import { channel } from 'node:diagnostics_channel'
import { LogThrottle } from '@jpulse/plugin-kit'
import type { Lock, RedisClient, RedisLink } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import { restore, type Reconciler } from './backed-store.ts'
import type { BackupEnd, BackupEntry, SessionBackup } from './backup.ts'
import { unavailable } from '../errors.ts'
import type { SessionRef } from '../stores/ids.ts'
import type { Keys } from '../stores/redis/keys.ts'
import type { RedisStore } from '../stores/redis/redis-store.ts'

const SLICE = 200
const RESTORE_LOCK_MS = 60_000
/** So many intervals a batch may take before the log says so. */
const MOST_LATE = 3

const batchChannel = channel('jpulse:redis-sessions:backup-batch')
const restoreChannel = channel('jpulse:redis-sessions:restore')

/**
 * Writes changed sessions to the backup in batches, on one instance at a time. When Redis came back without its data or
 * with older ones, which a mark in Redis that is missing or of another epoch tells, carries out again what ended and
 * restores all sessions.
 */
export class BackupJob implements Reconciler {
  readonly #link: RedisLink
  readonly #keys: Keys
  readonly #primary: RedisStore
  readonly #backup: SessionBackup
  readonly #log: FastifyBaseLogger
  readonly #timer: NodeJS.Timeout
  // Once more after a batch under way, which may have looked at the Redis before this one.
  readonly #onChange = () => { this.tick().then(() => this.tick()) }
  /** Which Redis was last seen to know all ends, as `#redis` tells it; undefined for none. */
  #complete: string | undefined
  readonly #warnings = new LogThrottle()
  #isOpen = false
  #running: Promise<void> | undefined
  /** In intervals, how long it is under way. */
  #late = 0
  #closed = false

  constructor (link: RedisLink, keys: Keys, primary: RedisStore, backup: SessionBackup, log: FastifyBaseLogger) {
    this.#link = link
    this.#keys = keys
    this.#primary = primary
    this.#backup = backup
    this.#log = log
    this.#timer = setInterval(() => this.#next(), backup.intervalMs).unref()
    link.on('change', this.#onChange)
    this.tick()
  }

  async markDirty ({ hash, tag, owned }: SessionRef): Promise<void> {
    await this.#run((client) => client.sadd(this.#keys.backup('dirty'), `${owned ? 'u' : 'a'}:${tag}:${hash}`))
      .catch((err) => {
        if (this.#warnings.pass() !== null) this.#log.warn({ err }, 'a session could not be noted for the backup, which lacks what changed in it until it changes again')
      })
  }

  /** Costs a command only until it is true for this Redis. */
  async isComplete (): Promise<boolean> {
    if (this.#complete === this.#redis) return true
    return this.#ask().catch((err) => { throw unavailable(err) })
  }

  #next (): void {
    this.#late = this.#running === undefined ? 0 : this.#late + 1
    if (this.#late === MOST_LATE) this.#log.warn({ intervalMs: this.#backup.intervalMs }, `a batch of the session backup is under way for ${MOST_LATE} intervals: the backup is slow or does not answer, and none is written meanwhile`)
    this.tick()
  }

  /** Never rejects; one at a time. */
  tick (): Promise<void> {
    if (this.#closed) return Promise.resolve()
    this.#running ??= this.#tick()
      .catch((err) => this.#log.warn({ err }, 'the session backup could not be written; the next batch tries again'))
      .finally(() => { this.#running = undefined })
    return this.#running
  }

  /** Ends the job; waits for a batch under way at most a second. */
  async close (): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    this.#link.off('change', this.#onChange)
    let timer: NodeJS.Timeout | undefined
    await Promise.race([this.#running, new Promise((resolve) => { timer = setTimeout(resolve, 1000) })])
    clearTimeout(timer)
  }

  async #tick (): Promise<void> {
    if (!this.#isOpen) {
      await this.#backup.open(this.#log)
      this.#isOpen = true
    }
    if (!this.#link.isUp) return
    await this.#restoreAll()
    // Not given back: it keeps the other instances from a second batch within the interval.
    const lock = await this.#link.tryLock(this.#keys.lock('backup'), Math.max(50, Math.floor(this.#backup.intervalMs * 0.9)))
    if (lock === null) return
    const written = await this.#writeBatch()
    await this.#backup.sweep(this.#primary.now())
    batchChannel.publish({ written })
  }

  /** The list is moved aside first, so that a process that dies here leaves it to the next, and what changes now is in the new list. */
  async #writeBatch (): Promise<number> {
    const dirty = this.#keys.backup('dirty')
    const work = this.#keys.backup('work')
    await this.#run((client) => client.renamenx(dirty, work)).catch((err) => { if (!/no such key/.test(String((err as Error).message))) throw err })
    let written = 0
    for (;;) {
      const members = await this.#run((client) => client.srandmember(work, SLICE))
      if (members.length === 0) return written
      const entries = await Promise.all(members.map((member) => this.#entry(member)))
      const alive = entries.filter((entry) => entry !== null)
      await this.#backup.put(alive)
      await this.#run((client) => client.srem(work, ...members))
      written += alive.length
    }
  }

  async #entry (member: string): Promise<BackupEntry | null> {
    const [kind, tag = '', hash = ''] = member.split(':')
    const ref = { hash, tag, owned: kind === 'u' }
    const [stored, expiresAt] = await Promise.all([this.#primary.readStored(ref), this.#primary.expiryOf(ref)])
    return stored === null || expiresAt === null || stored.version === '' ? null : { ref, stored, expiresAt }
  }

  async #restoreAll (): Promise<void> {
    if (await this.#ask()) return
    const { epoch } = this.#link
    const lock = await this.#link.tryLock(this.#keys.lock('restore'), RESTORE_LOCK_MS)
    if (lock === null) return
    try {
      // The ends first: what they leave of an older state stands.
      const ended = await this.#each(this.#backup.ends(), (end) => this.#endAgain(end), lock)
      const restored = await this.#each(this.#backup.all(), async (entry) => await restore(this.#primary, entry) !== null, lock)
      // Of the Redis that this began with: where it is another by now, it begins again.
      await this.#run((client) => client.set(this.#keys.backup('complete'), epoch ?? 'unknown'))
      if (restored > 0 || ended > 0) this.#log.warn({ restored, ended }, 'Redis had lost sessions or logouts: made up for from the backup')
      restoreChannel.publish({ restored, ended })
    } finally {
      await lock.release()
    }
  }

  /** @returns whether it ended a session that Redis had */
  async #endAgain (end: BackupEnd): Promise<boolean> {
    if ('ref' in end) return await this.#primary.readStored(end.ref) !== null && await this.#primary.remove(end.ref) !== null
    await this.#primary.endUpTo(end.tag, end.mark, end.except)
    return false
  }

  /** @returns how many items `use` was true for */
  async #each<T> (items: AsyncIterable<T>, use: (item: T) => Promise<boolean>, lock: Lock): Promise<number> {
    let count = 0
    let slice: T[] = []
    const flush = async () => {
      count += (await Promise.all(slice.map(use))).filter(Boolean).length
      slice = []
      await lock.extend()
    }
    for await (const item of items) if (slice.push(item) === SLICE) await flush()
    await flush()
    return count
  }

  /** Asks Redis for the epoch that its mark is of. A server that does not tell its epoch is taken at its word. */
  async #ask (): Promise<boolean> {
    const { epoch } = this.#link
    const redis = this.#redis
    const mark = await this.#run((client) => client.get(this.#keys.backup('complete')))
    const isComplete = mark !== null && (epoch === null || mark === epoch)
    this.#complete = isComplete ? redis : undefined
    return isComplete
  }

  /** Behind a connection that broke may be another Redis, also where no epoch tells. */
  get #redis (): string {
    return `${this.#link.outages.version} ${this.#link.epoch}`
  }

  #run<T> (command: (client: RedisClient) => Promise<T>): Promise<T> {
    return this.#link.run((client) => command(client))
  }
}
