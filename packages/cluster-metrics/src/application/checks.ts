import type { RedisLink } from '@jpulse/redis-link'
import { callWithin, checkCall, within } from '@jpulse/plugin-kit'
import { FST_ERR_CLUSTER_METRICS_DUPLICATE, FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT, FST_ERR_CLUSTER_METRICS_TOO_MANY } from '../errors.ts'
import type { Faults } from '../failures/index.ts'
import type { Health } from '../formats/index.ts'
import { checkName, invalidOption } from './names.ts'

/** Resolves where all is well: with anything but false. */
export type Check = () => unknown | Promise<unknown>

export interface CheckOptions {
  /** Longest wait, in milliseconds, 1 to 60000; a check that takes longer is down. @default the plugin's `checkTimeoutMs` */
  timeoutMs?: number
  /** Whether the instance is not ready while the check is down; else it is degraded only. @default false */
  critical?: boolean
}

interface Registered {
  check: Check
  timeoutMs: number
  critical: boolean
  running: Promise<boolean> | null
  /** Calls, the latest of them that ended, and when the last one began. Calls before one that ended are given up: some never end. */
  calls: number
  ended: number
  calledAt: number
}

/** What decides about readiness besides Redis and the checks of the application. */
interface Asked {
  draining: () => boolean
  /** Null without MongoDB. */
  pingMongo: () => Promise<boolean | null>
}

const MOST = 50
/** Calls of a check that hangs. Beyond that it is called once in six reports: probes come all day, and each call may hold a connection. */
const MOST_OPEN = 5
const RESERVED = ['redis', 'mongodb', 'instance']

/**
 * Readiness, by `/health` and at each report. Without Redis everything still answers, so that is a degradation only.
 * Checks that are asked for at the same time run once, so a crowd of probes is no load.
 */
export class HealthChecks {
  /** What was found last; null before the first time. */
  last: Health | null = null
  readonly #link: RedisLink
  readonly #asked: Asked
  readonly #timeoutMs: number
  readonly #pauseMs: number
  readonly #mongoCritical: boolean
  readonly #faults: Faults
  readonly #checks = new Map<string, Registered>()
  #mongo: Promise<boolean | null> | null = null

  constructor (link: RedisLink, asked: Asked, { checkTimeoutMs, reportIntervalMs, mongoCritical }: { checkTimeoutMs: number, reportIntervalMs: number, mongoCritical: boolean }, faults: Faults) {
    this.#link = link
    this.#asked = asked
    this.#timeoutMs = checkTimeoutMs
    this.#pauseMs = 6 * reportIntervalMs
    this.#mongoCritical = mongoCritical
    this.#faults = faults
  }

  add (name: string, check: Check, options: CheckOptions = {}): void {
    checkCall(options, ['timeoutMs', 'critical'], invalidOption)
    const { timeoutMs = this.#timeoutMs, critical = false } = options
    checkName('The check', name)
    if (typeof check !== 'function') throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('fn', 'a function')
    if (!(Number.isInteger(timeoutMs) && timeoutMs >= 1 && timeoutMs <= 60_000)) throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('timeoutMs', 'a whole number of milliseconds from 1 to 60000')
    if (this.#checks.has(name) || RESERVED.includes(name)) throw new FST_ERR_CLUSTER_METRICS_DUPLICATE('check', name)
    if (this.#checks.size >= MOST) throw new FST_ERR_CLUSTER_METRICS_TOO_MANY('checks', MOST)
    this.#checks.set(name, { check, timeoutMs, critical, running: null, calls: 0, ended: 0, calledAt: -Infinity })
  }

  async read (): Promise<Health> {
    const [mongodb, results] = await Promise.all([this.#pingMongo(), this.#runAll()])
    const draining = this.#asked.draining()
    const redis = this.#link.state
    const checks: Health['checks'] = {
      instance: { status: draining ? 'draining' : 'up', critical: true },
      redis: { status: redis, critical: false },
      mongodb: { status: mongodb === null ? 'disabled' : mongodb ? 'up' : 'down', critical: this.#mongoCritical },
      ...Object.fromEntries(results.map(([name, ok]) => [name, { status: ok ? 'up' : 'down', critical: this.#checks.get(name)!.critical }]))
    }
    const failed = Object.values(checks).filter(({ status }) => status !== 'up' && status !== 'disabled')
    this.last = { status: failed.some(({ critical }) => critical) ? 'error' : failed.length > 0 ? 'degraded' : 'ok', checks }
    return this.last
  }

  /** Reads at a report, which waits for `ms` at most: a check may take longer. */
  async refresh (ms: number): Promise<void> {
    await within(ms, this.read(), () => new Error('late')).catch(() => {})
  }

  #pingMongo (): Promise<boolean | null> {
    this.#mongo ??= this.#asked.pingMongo().finally(() => { this.#mongo = null })
    return this.#mongo
  }

  #runAll (): Promise<Array<[name: string, ok: boolean]>> {
    return Promise.all([...this.#checks].map(async ([name, one]) => {
      one.running ??= this.#run(name, one).finally(() => { one.running = null })
      return [name, await one.running] as [string, boolean]
    }))
  }

  async #run (name: string, one: Registered): Promise<boolean> {
    try {
      const open = one.calls - one.ended
      if (open >= MOST_OPEN && performance.now() - one.calledAt < this.#pauseMs) throw new Error(`no answer to ${open} calls`)
      return await callWithin(one.timeoutMs, () => call(one), () => new Error(`no answer within ${one.timeoutMs} ms`)) !== false
    } catch (err) {
      this.#faults.note('check', name, err)
      return false
    }
  }
}

async function call (one: Registered): Promise<unknown> {
  const number = ++one.calls
  one.calledAt = performance.now()
  try {
    return await one.check()
  } finally {
    one.ended = Math.max(one.ended, number)
  }
}
