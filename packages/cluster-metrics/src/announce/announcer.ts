import { randomUUID } from 'node:crypto'
import type { EventEmitter } from 'node:events'
import { emitSafely, type OnFault } from '@jpulse/plugin-kit'
import type { RedisLink } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import type { Report } from '../formats/index.ts'
import { MemorySlot, RedisSlot, type Batch, type Slot, type Told } from './slot.ts'
import { missing, transitions, type Present } from './transitions.ts'

/** Somebody who is told. */
export interface Audience {
  /** Part of the name of what has been told to it. */
  readonly name: string
  /** Whether there is anybody in this process. Only such processes tell. */
  readonly isThere: boolean
  /** How long telling may take, in milliseconds. */
  readonly timeoutMs: number
  /** `done`, or after how many milliseconds it may be tried again. Never rejects. */
  tell (batch: Batch): Promise<'done' | number>
}

/** What the announcer asks about the cluster. */
export interface Look {
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
 * Tells an audience what becomes of instances and checks: once per cluster, whichever process does it.
 *
 * After each report one of the processes takes its turn by a lock, compares what is with what has been told, and writes what is
 * to be told before it tells it: so it is told also where the process ends in between, and then perhaps twice, by the same id.
 */
export class Announcer {
  readonly #audience: Audience
  readonly #link: RedisLink
  readonly #look: Look
  readonly #log: FastifyBaseLogger
  readonly #everyMs: number
  readonly #graceMs: number
  readonly #shared: Slot
  readonly #alone = new MemorySlot()
  #running: Promise<void> | null = null

  constructor (audience: Audience, link: RedisLink, look: Look, { reportIntervalMs, ttlMs }: { reportIntervalMs: number, ttlMs: number }, log: FastifyBaseLogger) {
    this.#audience = audience
    this.#link = link
    this.#look = look
    this.#log = log
    this.#everyMs = reportIntervalMs
    this.#graceMs = ttlMs
    this.#shared = new RedisSlot(link, link.key('health', 'told', audience.name))
  }

  /** Looks and tells; joins the turn that is under way. Never rejects. */
  turn (): Promise<void> {
    this.#running ??= this.#turn()
      .catch((err: unknown) => { this.#log.debug({ err }, 'what is to be told could not be read') })
      .finally(() => { this.#running = null })
    return this.#running
  }

  async #turn (): Promise<void> {
    if (!this.#audience.isThere) return
    if (!this.#link.isUp) {
      if (this.#link.mode === 'none' || this.#look.isSpeaker()) await this.#tellAlone()
      return
    }
    await this.#afterOutage()
    const lock = await this.#link.tryLock(`metrics:told:${this.#audience.name}`, this.#everyMs)
    if (lock === null) return
    const state = await this.#shared.read()
    if (state === null) return
    const reports = await this.#look.reports()
    const left = await this.#look.left(missing(state.told.known, reports))
    const told = await this.#note(this.#shared, state, { reports, left })
    if (told === null || told.outbox.length === 0) return
    // A lock that was lost is another process' turn.
    if (await lock.extend(Math.max(this.#everyMs, this.#audience.timeoutMs + 1000))) await this.#deliver(this.#shared)
  }

  /** What is told while Redis is away is told by one process, about itself. */
  async #tellAlone (): Promise<void> {
    const state = await this.#alone.read()
    await this.#note(this.#alone, state, { reports: [this.#look.own()], left: new Set() })
    await this.#deliver(this.#alone)
  }

  /** Redis is back: says so where the outage was told, and remembers how this process is, for the next one. */
  async #afterOutage (): Promise<void> {
    const { known, outbox } = this.#alone.told
    if (Object.keys(known.told).length > 0 || outbox.length > 0) await this.#tellAlone()
    else this.#alone.told = { known: transitions(known, { reports: [this.#look.own()], left: new Set() }, { now: this.#look.now(), graceMs: this.#graceMs }).known, outbox: [] }
  }

  /** Writes what is to be told; null where somebody else has. */
  async #note (slot: Slot, { version, told }: { version: string, told: Told }, present: Present): Promise<Told | null> {
    const now = this.#look.now()
    const { known, events } = transitions(told.known, present, { now, graceMs: this.#graceMs })
    const outbox = events.length === 0 ? told.outbox : [...told.outbox, { id: `msg_${randomUUID()}`, at: now, events, attempts: 0, notBefore: 0 }].slice(-MOST_BATCHES)
    const next = { known, outbox }
    if (JSON.stringify(next) === JSON.stringify(told)) return told
    return await slot.replace(version, next) ? next : null
  }

  async #deliver (slot: Slot): Promise<void> {
    for (let count = 0; count < MOST_BATCHES; count++) {
      const [batch] = (await slot.read())?.told.outbox ?? []
      if (batch === undefined || batch.notBefore > this.#look.now()) return
      const outcome = await this.#audience.tell(batch)
      const rest = outcome === 'done' ? [] : [{ ...batch, attempts: batch.attempts + 1, notBefore: this.#look.now() + outcome }]
      await update(slot, (told) => ({ ...told, outbox: told.outbox.flatMap((one) => one.id === batch.id ? rest : [one]) }))
      if (outcome !== 'done') return
    }
  }
}

async function update (slot: Slot, change: (told: Told) => Told): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const state = await slot.read()
    if (state === null || await slot.replace(state.version, change(state.told))) return
  }
}

/** Listeners of this process. */
export class Listeners implements Audience {
  readonly name = 'listeners'
  readonly timeoutMs = 0
  readonly #emitter: EventEmitter
  readonly #onFault: OnFault

  constructor (emitter: EventEmitter, onFault: OnFault) {
    this.#emitter = emitter
    this.#onFault = onFault
  }

  get isThere (): boolean {
    return ['down', 'up', 'degraded'].some((type) => this.#emitter.listenerCount(type) > 0)
  }

  async tell ({ events }: Batch): Promise<'done'> {
    for (const event of events) emitSafely(this.#emitter, this.#onFault, event.type, event)
    return 'done'
  }
}
