import { randomUUID } from 'node:crypto'
import type { EventEmitter } from 'node:events'
import { emitSafely, type OnFault } from '@jpulse/plugin-kit'
import type { RedisLink } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import type { Report } from '../formats/index.ts'
import { LONGEST_PAUSE_MS, MemorySlot, RedisSlot, type Batch, type Slot, type Announced } from './slot.ts'
import { announcedOf, missing, NOTHING_KNOWN, transitions, type Known, type Present } from './transitions.ts'

/** Where events are delivered. */
export interface Recipient {
  /** Part of the key of what was announced to it. */
  readonly name: string
  /** Whether this process can deliver to it. Only such processes announce. */
  readonly isPresent: boolean
  /** How long a delivery may take, in milliseconds. */
  readonly timeoutMs: number
  /** `done`, or after how many milliseconds it may be tried again. Never rejects. */
  deliver (batch: Batch): Promise<'done' | number>
}

/** What the announcer asks about the cluster. */
export interface ClusterView {
  /** Everybody's last reports. */
  reports: () => Promise<readonly Report[]>
  own: () => Report
  /** Which of these boot ids have said that they leave, or are long forgotten: a cluster may have been away for the night. */
  left: (bootIds: string[]) => Promise<ReadonlySet<string>>
  now: () => number
  /** While Redis is away: whether this process is the one of those that were last known that speaks for itself. */
  isSpeaker: () => boolean
}

const MOST_BATCHES = 50
const ATTEMPTS = 5

/**
 * Tells a recipient what becomes of instances and checks: once per cluster, whichever process does it.
 *
 * After each report one of the processes takes a lock, compares the reports with what was announced, and puts the events into an outbox
 * before it delivers them: at least once, therefore, by an id that stays the same.
 */
export class Announcer {
  readonly #recipient: Recipient
  readonly #link: RedisLink
  readonly #view: ClusterView
  readonly #log: FastifyBaseLogger
  readonly #everyMs: number
  readonly #graceMs: number
  readonly #shared: Slot
  readonly #alone = new MemorySlot()
  /** Whether this process has announced by itself while Redis was away, and the others do not know of it. */
  #hasSpoken = false
  /** When this process was last cut off from Redis, and when it was back after that took long enough to matter. */
  #cutAt: number | null = null
  #backAt = -Infinity
  /** What of this process was announced before Redis went away. */
  #before: Known['announced'] = {}
  #comparing: Promise<void> | null = null
  #delivering: Promise<void> | null = null

  constructor (recipient: Recipient, link: RedisLink, view: ClusterView, { reportIntervalMs, ttlMs }: { reportIntervalMs: number, ttlMs: number }, log: FastifyBaseLogger) {
    this.#recipient = recipient
    this.#link = link
    this.#view = view
    this.#log = log
    this.#everyMs = reportIntervalMs
    this.#graceMs = ttlMs
    this.#shared = new RedisSlot(link, link.key('health', 'announced', recipient.name))
  }

  /** The link has lost Redis, or has it again. */
  linkTurned (isUp: boolean): void {
    const now = performance.now()
    if (!isUp) this.#cutAt ??= now
    else {
      if (this.#cutAt !== null && now - this.#cutAt > this.#everyMs / 2) this.#backAt = now
      this.#cutAt = null
    }
  }

  /** Compares and announces. A delivery that takes long holds up no comparison. Never rejects. */
  async run (): Promise<void> {
    if (!this.#recipient.isPresent) return
    const failed = (err: unknown) => { this.#log.debug({ err }, 'what was announced could not be read') }
    const slot = this.#link.isUp ? this.#shared : this.#alone
    let waits = false
    this.#comparing ??= (slot === this.#shared ? this.#compare() : this.#compareAlone()).then((isWaiting) => { waits = isWaiting }, failed).finally(() => { this.#comparing = null })
    await this.#comparing
    if (!waits) return
    this.#delivering ??= (slot === this.#shared ? this.#deliverOnce() : this.#deliver(slot, async () => true)).catch(failed).finally(() => { this.#delivering = null })
    await this.#delivering
  }

  /** One of the processes does, in each interval. The lock is not given back: it is the pause until the next one does. Resolves with whether something is to be delivered. */
  async #compare (): Promise<boolean> {
    await this.handOver()
    // Not handed over: what was told alone is kept, and would be told again.
    if (this.#hasSpoken) return false
    await this.#prepareForOutage()
    if (await this.#link.tryLock(`metrics:announced:${this.#recipient.name}`, this.#everyMs) === null) return false
    const found = await this.#shared.read()
    if (found === null) return false
    const reports = await this.#view.reports()
    const left = await this.#view.left(missing(found.state.known, reports))
    const written = await this.#record(this.#shared, found, { reports, left })
    return written !== null && written.outbox.length > 0
  }

  /** While Redis is away one process announces, and only what it knows of itself. */
  async #compareAlone (): Promise<boolean> {
    if (this.#link.mode !== 'none' && !this.#view.isSpeaker()) return false
    this.#hasSpoken = true
    const written = await this.#record(this.#alone, await this.#alone.read(), { reports: [this.#view.own()], left: new Set() })
    return written !== null && written.outbox.length > 0
  }

  /** What was announced of this process is not told again while Redis is away. */
  async #prepareForOutage (): Promise<void> {
    const { instanceId, incidents = {} } = this.#view.own()
    const isWell = Object.values(incidents).every(({ now }) => now === 'up')
    const announced = isWell ? {} : announcedOf((await this.#shared.read())?.state.known ?? NOTHING_KNOWN, instanceId)
    this.#alone.state = { known: { ...NOTHING_KNOWN, announced }, outbox: [] }
    this.#before = announced
  }

  /** Redis is back: the others learn what this process has announced of itself, and deliver what it could not. To be called before it reports. */
  async handOver (): Promise<void> {
    if (!this.#hasSpoken || !this.#link.isUp) return
    const { known: { announced }, outbox } = this.#alone.state
    const changed = new Set(Object.keys({ ...this.#before, ...announced }).filter((key) => this.#before[key]?.status !== announced[key]?.status))
    const isDone = await update(this.#shared, ({ known, outbox: queued }) => {
      const kept = Object.entries(known.announced).filter(([key]) => !changed.has(key))
      const told = Object.entries(announced).filter(([key]) => changed.has(key))
      const ids = new Set(queued.map(({ id }) => id))
      return { known: { ...known, announced: Object.fromEntries([...kept, ...told]) }, outbox: [...queued, ...outbox.filter(({ id }) => !ids.has(id))].slice(-MOST_BATCHES) }
    })
    if (isDone) this.#hasSpoken = false
  }

  /** Writes the comparison and its events; null where another process has. */
  async #record (slot: Slot, { version, state }: { version: string, state: Announced }, present: Present): Promise<Announced | null> {
    const now = this.#view.now()
    const isBack = performance.now() - this.#backAt < this.#graceMs
    const { known, events } = transitions(state.known, present, { now, graceMs: this.#graceMs, isBack })
    const outbox = events.length === 0 ? state.outbox : [...state.outbox, { id: `msg_${randomUUID()}`, at: now, events, attempts: 0, notBefore: 0 }].slice(-MOST_BATCHES)
    const next = { known, outbox }
    return await slot.replace(version, next) ? next : null
  }

  /** Delivers what all have to deliver, one process at a time. */
  async #deliverOnce (): Promise<void> {
    const ms = Math.max(this.#everyMs, this.#recipient.timeoutMs + 1000)
    const lock = await this.#link.tryLock(`metrics:delivered:${this.#recipient.name}`, ms)
    if (lock === null) return
    // With the lock lost, another process delivers.
    await this.#deliver(this.#shared, () => lock.extend(ms)).finally(() => lock.release())
  }

  /** @param isOurs asked before each delivery: together they may take longer than any lock */
  async #deliver (slot: Slot, isOurs: () => Promise<boolean>): Promise<void> {
    for (let count = 0; count < MOST_BATCHES; count++) {
      const [batch] = (await slot.read())?.state.outbox ?? []
      if (batch === undefined || isEarly(batch, this.#view.now()) || !await isOurs()) return
      const outcome = await this.#recipient.deliver(batch)
      const rest = outcome === 'done' ? [] : [{ ...batch, attempts: batch.attempts + 1, notBefore: this.#view.now() + outcome }]
      await update(slot, (state) => ({ ...state, outbox: state.outbox.flatMap((one) => one.id === batch.id ? rest : [one]) }))
      if (outcome !== 'done') return
    }
  }
}

/** Whether its pause is not over. One that is longer than any pause is left of a clock that was set back. */
const isEarly = ({ notBefore }: Batch, now: number): boolean => notBefore > now && notBefore - now <= LONGEST_PAUSE_MS

/** Whether it could be written. */
async function update (slot: Slot, change: (state: Announced) => Announced): Promise<boolean> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const found = await slot.read()
    if (found === null) return false
    if (await slot.replace(found.version, change(found.state))) return true
  }
  return false
}

/** Listeners of this process. */
export class Listeners implements Recipient {
  readonly name = 'listeners'
  readonly timeoutMs = 0
  readonly #emitter: EventEmitter
  readonly #onFault: OnFault

  constructor (emitter: EventEmitter, onFault: OnFault) {
    this.#emitter = emitter
    this.#onFault = onFault
  }

  get isPresent (): boolean {
    return ['down', 'up', 'degraded'].some((type) => this.#emitter.listenerCount(type) > 0)
  }

  async deliver ({ events }: Batch): Promise<'done'> {
    for (const event of events) emitSafely(this.#emitter, this.#onFault, event.type, event)
    return 'done'
  }
}
