import type { RedisLink } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import type { ErrorLog } from '../failures/index.ts'
import { encodePoint } from '../formats/index.ts'
import { History, Minutes } from '../requests/index.ts'
import type { Store } from '../store/index.ts'
import type { Local } from './local.ts'

const COMPLAIN_MS = 60_000
const LEAVE_MS = 1000

/** Reports this process at intervals, never twice at a time. What could not be written is written with a later report. */
export class Reporter {
  readonly minutes = new Minutes()
  readonly history = new History()
  readonly #link: RedisLink
  readonly #local: Local
  readonly #store: Store
  readonly #errors: ErrorLog
  readonly #log: FastifyBaseLogger
  readonly #everyMs: number
  readonly #onUp = () => { this.now() }
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | null = null
  #writing: Promise<void> | null = null
  #stopped = false
  #complainedAt = -Infinity

  constructor (link: RedisLink, local: Local, store: Store, errors: ErrorLog, everyMs: number, log: FastifyBaseLogger) {
    this.#link = link
    this.#local = local
    this.#store = store
    this.#errors = errors
    this.#everyMs = everyMs
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
      .catch((err) => this.#complain(err))
      .finally(() => { this.#running = null })
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
    await this.#write()
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
    this.#writing = this.#write().finally(() => { this.#writing = null })
    await this.#writing
  }

  /** Everything that the others do not know. */
  async #write (): Promise<void> {
    this.collect()
    const report = this.#local.report()
    const point = this.history.take(this.#local.recorder, report.instance, this.#store.now())
    if (!this.#link.isUp) return
    const minutes = this.minutes.unsaved()
    const errors = this.#errors.take()
    try {
      await this.#store.write({
        report: JSON.stringify(report),
        totals: JSON.stringify(this.#local.totals()),
        counters: this.#local.custom.counters,
        minutes,
        errors,
        point: encodePoint(point)
      })
      this.minutes.saved(minutes)
    } catch (err) {
      this.#errors.giveBack(errors)
      throw err
    }
  }

  /** Once a minute at most; redis-link says itself that Redis is down. */
  #complain (err: unknown): void {
    if (performance.now() - this.#complainedAt < COMPLAIN_MS) return
    this.#complainedAt = performance.now()
    this.#log.warn({ err }, 'this instance could not be reported')
  }
}
