import { randomUUID } from 'node:crypto'
import type { EventEmitter } from 'node:events'
import { emitSafely, type OnFault } from '@jpulse/plugin-kit'
import type { RedisLink } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import type { Report } from '../formats/index.ts'
import { MemorySlot, RedisSlot, type Batch, type Slot, type Announced } from './slot.ts'
import { missing, transitions, type Present } from './transitions.ts'

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
  /** Which of these boot ids have said that they leave. */
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
  #running: Promise<void> | null = null

  constructor (recipient: Recipient, link: RedisLink, view: ClusterView, { reportIntervalMs, ttlMs }: { reportIntervalMs: number, ttlMs: number }, log: FastifyBaseLogger) {
    this.#recipient = recipient
    this.#link = link
    this.#view = view
    this.#log = log
    this.#everyMs = reportIntervalMs
    this.#graceMs = ttlMs
    this.#shared = new RedisSlot(link, link.key('health', 'announced', recipient.name))
  }

  /** Compares and announces; joins the run that is under way. Never rejects. */
  run (): Promise<void> {
    this.#running ??= this.#runOnce()
      .catch((err: unknown) => { this.#log.debug({ err }, 'what was announced could not be read') })
      .finally(() => { this.#running = null })
    return this.#running
  }

  async #runOnce (): Promise<void> {
    if (!this.#recipient.isPresent) return
    if (!this.#link.isUp) {
      if (this.#link.mode === 'none' || this.#view.isSpeaker()) await this.#announceAlone()
      return
    }
    await this.#afterOutage()
    const lock = await this.#link.tryLock(`metrics:announced:${this.#recipient.name}`, this.#everyMs)
    if (lock === null) return
    const found = await this.#shared.read()
    if (found === null) return
    const reports = await this.#view.reports()
    const left = await this.#view.left(missing(found.state.known, reports))
    const written = await this.#record(this.#shared, found, { reports, left })
    if (written === null || written.outbox.length === 0) return
    // With the lock lost, another process delivers.
    await this.#deliver(this.#shared, () => lock.extend(Math.max(this.#everyMs, this.#recipient.timeoutMs + 1000)))
  }

  /** While Redis is away one process announces, and only what it knows of itself. */
  async #announceAlone (): Promise<void> {
    await this.#record(this.#alone, await this.#alone.read(), { reports: [this.#view.own()], left: new Set() })
    await this.#deliver(this.#alone)
  }

  /** Redis is back: announces that where the outage was, and remembers the state of this process for the next outage. */
  async #afterOutage (): Promise<void> {
    const { known, outbox } = this.#alone.state
    if (Object.keys(known.announced).length > 0 || outbox.length > 0) await this.#announceAlone()
    else this.#alone.state = { known: transitions(known, { reports: [this.#view.own()], left: new Set() }, { now: this.#view.now(), graceMs: this.#graceMs }).known, outbox: [] }
  }

  /** Writes the comparison and its events; null where another process has. */
  async #record (slot: Slot, { version, state }: { version: string, state: Announced }, present: Present): Promise<Announced | null> {
    const now = this.#view.now()
    const { known, events } = transitions(state.known, present, { now, graceMs: this.#graceMs })
    const outbox = events.length === 0 ? state.outbox : [...state.outbox, { id: `msg_${randomUUID()}`, at: now, events, attempts: 0, notBefore: 0 }].slice(-MOST_BATCHES)
    const next = { known, outbox }
    return await slot.replace(version, next) ? next : null
  }

  /** @param isOurs asked before each delivery: together they may take longer than any lock */
  async #deliver (slot: Slot, isOurs: () => Promise<boolean> = async () => true): Promise<void> {
    for (let count = 0; count < MOST_BATCHES; count++) {
      const [batch] = (await slot.read())?.state.outbox ?? []
      if (batch === undefined || batch.notBefore > this.#view.now() || !await isOurs()) return
      const outcome = await this.#recipient.deliver(batch)
      const rest = outcome === 'done' ? [] : [{ ...batch, attempts: batch.attempts + 1, notBefore: this.#view.now() + outcome }]
      await update(slot, (state) => ({ ...state, outbox: state.outbox.flatMap((one) => one.id === batch.id ? rest : [one]) }))
      if (outcome !== 'done') return
    }
  }
}

async function update (slot: Slot, change: (state: Announced) => Announced): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const found = await slot.read()
    if (found === null || await slot.replace(found.version, change(found.state))) return
  }
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
