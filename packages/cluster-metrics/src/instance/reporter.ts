import { LogThrottle } from '@jpulse/plugin-kit'
import type { RedisLink } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import type { ErrorLog } from '../failures/index.ts'
import { encodePoint, type Totals } from '../formats/index.ts'
import type { ResolvedOptions } from '../options.ts'
import { History, Minutes } from '../requests/index.ts'
import type { Store } from '../store/index.ts'
import { Days } from './days.ts'
import type { Local } from './local.ts'

const LEAVE_MS = 1000
const MOST_WRITTEN = 50

/** Reports this process at intervals, never twice at a time. What could not be written is written with a later report. */
export class Reporter {
  readonly minutes = new Minutes()
  readonly history = new History()
  readonly days: Days
  /** Called before each write, which waits for it. */
  beforeWrite: () => Promise<void> = async () => {}
  /** Called after each report, also where it could not be written. */
  onReported: () => void = () => {}
  readonly #link: RedisLink
  readonly #local: Local
  readonly #store: Store
  readonly #errors: ErrorLog
  readonly #log: FastifyBaseLogger
  readonly #everyMs: number
  readonly #ttlMs: number
  readonly #onUp = () => { this.now() }
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | null = null
  #writing: Promise<void> | null = null
  #stopped = false
  readonly #warnings = new LogThrottle()
  #seq = 0
  #wroteAt = performance.now()
  /** Until when it is to be looked whether this process was taken for dead. */
  #recheckUntil = 0
  /** What was written since the last write that is known to have arrived, that one included, by the number of the write. */
  #written = new Map<number, Totals>()

  constructor (link: RedisLink, local: Local, store: Store, errors: ErrorLog, { reportIntervalMs, ttlMs }: Pick<ResolvedOptions, 'reportIntervalMs' | 'ttlMs'>, log: FastifyBaseLogger) {
    this.#link = link
    this.#local = local
    this.#store = store
    this.#errors = errors
    this.#everyMs = reportIntervalMs
    this.days = new Days(link, store, this.history, reportIntervalMs)
    this.#ttlMs = ttlMs
    this.#log = log
  }

  /** Begins to report: the first one now. */
  start (): void {
    this.#link.on('up', this.#onUp)
    this.#loop()
  }

  /** Reports now, or joins the report that is under way. Never rejects. */
  now (): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    this.#running ??= this.#report()
      .catch((err) => this.#warn(err))
      .finally(() => {
        this.#running = null
        if (!this.#stopped) this.onReported()
      })
    return this.#running
  }

  /** Takes what was counted since the last report, for answers that are to be of this moment. */
  collect (): void {
    this.minutes.collect(this.#local.recorder.series, this.#store.now())
  }

  /** Ends the reports and leaves the others, within a second. */
  async stop (): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#link.off('up', this.#onUp)
    let timer: NodeJS.Timeout | undefined
    const time = new Promise<void>((resolve) => { timer = setTimeout(resolve, LEAVE_MS) })
    await Promise.race([this.#leave().catch((err: unknown) => this.#log.debug({ err }, 'the others will notice that we left when the last report expires')), time])
    clearTimeout(timer)
  }

  /** The counters of the last seconds outlive this process. A report that is still being written would bring it back, so it is waited for. */
  async #leave (): Promise<void> {
    if (!this.#link.isUp) return
    await this.#writing?.catch(() => {})
    await this.#local.readRegistry(LEAVE_MS / 4)
    await this.#write(true)
    await this.#store.leave()
  }

  #loop (): void {
    this.now().finally(() => {
      if (!this.#stopped) this.#timer = setTimeout(() => this.#loop(), this.#everyMs).unref()
    })
  }

  async #report (): Promise<void> {
    await this.#local.refresh()
    if (this.#stopped) return
    await this.beforeWrite().catch((err: unknown) => { this.#log.debug({ err }, 'what was announced could not be handed over') })
    // It may have left meanwhile.
    if (this.#stopped) return
    this.#writing = this.#write().finally(() => { this.#writing = null })
    await this.#writing
    if (this.#link.isUp && !this.#stopped) await this.#maintain()
  }

  /**
   * One instance at a time adds those that ended. The lock is not given back: it is the pause until the next one does. One that has just
   * come back itself leaves it: where Redis was away, the others are about to report too.
   */
  async #maintain (): Promise<void> {
    const isBack = performance.now() < this.#recheckUntil
    if (isBack) await this.#store.takeBack((seq) => this.#written.get(seq))
    else if (await this.#link.tryLock('metrics:ended', this.#everyMs) !== null) await this.#store.addEnded()
    await this.days.share()
  }

  /** Everything that the others do not know. */
  async #write (leaves = false): Promise<void> {
    this.collect()
    const report = this.#local.report()
    const point = this.history.take(this.#local.recorder, report.instance, this.#store.now())
    this.days.collect()
    if (!this.#link.isUp) return
    const minutes = this.minutes.unsaved()
    const errors = this.#errors.take()
    const totals = { ...this.#nextTotals(), ...(leaves ? { left: true } : {}) }
    try {
      await this.#store.write({
        report: JSON.stringify(report),
        totals: JSON.stringify(totals),
        counters: this.#local.custom.counters,
        minutes,
        errors,
        point: encodePoint(point)
      })
      this.minutes.saved(minutes)
      this.#wrote(totals.seq)
    } catch (err) {
      this.#errors.giveBack(errors)
      throw err
    }
  }

  #nextTotals (): Totals & { seq: number } {
    const totals = { ...this.#local.totals(), seq: ++this.#seq }
    this.#written.set(totals.seq, totals)
    const [oldest] = this.#written.keys()
    if (this.#written.size > MOST_WRITTEN) this.#written.delete(oldest!)
    return totals
  }

  #wrote (seq: number): void {
    const now = performance.now()
    if (now - this.#wroteAt > this.#ttlMs) this.#recheckUntil = now + 4 * this.#ttlMs
    this.#wroteAt = now
    // Kept while it may be the one that somebody adds.
    if (now >= this.#recheckUntil) for (const earlier of this.#written.keys()) if (earlier < seq) this.#written.delete(earlier)
  }

  /** redis-link says itself that Redis is down. */
  #warn (err: unknown): void {
    if (!this.#stopped && this.#warnings.pass() !== null) this.#log.warn({ err }, 'this instance could not be reported')
  }
}
