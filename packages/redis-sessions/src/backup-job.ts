import { channel } from 'node:diagnostics_channel'
import type { RedisClient, RedisLink } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import { entryOf, restore, type DirtyList } from './backed-store.ts'
import type { BackupEntry, SessionBackup } from './backup.ts'
import type { SessionRef } from './ids.ts'
import type { Keys } from './keys.ts'
import type { Lifetimes, SessionStore } from './store.ts'

const SLICE = 200
const RESTORE_LOCK_MS = 60_000

const batchChannel = channel('jpulse:redis-sessions:backup-batch')
const restoreChannel = channel('jpulse:redis-sessions:restore')

/**
 * Writes changed sessions to the backup in batches, on one instance at a time, and restores all of them when Redis came
 * back without its data, which a missing mark in Redis tells.
 */
export class BackupJob implements DirtyList {
  readonly #link: RedisLink
  readonly #keys: Keys
  readonly #primary: SessionStore
  readonly #backup: SessionBackup
  readonly #lifetimes: Lifetimes
  readonly #log: FastifyBaseLogger
  readonly #timer: NodeJS.Timeout
  readonly #onChange = () => { this.tick() }
  #isOpen = false
  #running: Promise<void> | undefined
  #closed = false

  constructor (link: RedisLink, keys: Keys, primary: SessionStore, backup: SessionBackup, lifetimes: Lifetimes, log: FastifyBaseLogger) {
    this.#link = link
    this.#keys = keys
    this.#primary = primary
    this.#backup = backup
    this.#lifetimes = lifetimes
    this.#log = log
    this.#timer = setInterval(() => this.tick(), backup.intervalMs).unref()
    link.on('change', this.#onChange)
    this.tick()
  }

  async add ({ hash, tag, owned }: SessionRef): Promise<void> {
    await this.#run((client) => client.sadd(this.#keys.backup('dirty'), `${owned ? 'u' : 'a'}:${tag}:${hash}`))
      .catch((err) => this.#log.debug({ err }, 'a session could not be noted for the backup'))
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
    const lock = await this.#link.tryLock('sessions:backup', Math.max(50, Math.floor(this.#backup.intervalMs * 0.9)))
    if (lock === null) return
    const written = await this.#writeBatch()
    await this.#backup.sweep()
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
    const stored = await this.#primary.read(ref)
    return stored === null ? null : entryOf(ref, stored, this.#lifetimes)
  }

  async #restoreAll (): Promise<void> {
    const mark = this.#keys.backup('complete')
    if (await this.#run((client) => client.exists(mark)) === 1) return
    const lock = await this.#link.tryLock('sessions:restore', RESTORE_LOCK_MS)
    if (lock === null) return
    try {
      const restored = await this.#restoreEach(() => lock.extend())
      await this.#run((client) => client.set(mark, '1'))
      if (restored > 0) this.#log.warn({ restored }, 'Redis had lost its sessions: restored from the backup')
      restoreChannel.publish({ restored })
    } finally {
      await lock.release()
    }
  }

  async #restoreEach (onSlice: () => Promise<unknown>): Promise<number> {
    let restored = 0
    let slice: BackupEntry[] = []
    const flush = async () => {
      const results = await Promise.all(slice.map((entry) => restore(this.#primary, entry)))
      restored += results.filter((stored) => stored !== null).length
      slice = []
      await onSlice()
    }
    for await (const entry of this.#backup.all()) {
      if (slice.push(entry) === SLICE) await flush()
    }
    await flush()
    return restored
  }

  #run<T> (command: (client: RedisClient) => Promise<T>): Promise<T> {
    return this.#link.run((client) => command(client as unknown as RedisClient))
  }
}
