import type { RedisLink } from '@jpulse/redis-link'
import { callWithin } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import { FST_ERR_CLUSTER_METRICS_DUPLICATE, FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT, FST_ERR_CLUSTER_METRICS_TOO_MANY } from '../errors.ts'
import { checkName } from './names.ts'

/** Resolves where all is well: with anything but false. */
export type Check = () => unknown | Promise<unknown>

export interface CheckOptions {
  /** Longest wait, in milliseconds, 1 to 60000; a check that takes longer is down. @default the plugin's `checkTimeoutMs` */
  timeoutMs?: number
  /** Whether the instance is not ready while the check is down; else it is degraded only. @default false */
  critical?: boolean
}

export interface CheckResult {
  status: string
}

/** Answer of `/health`. */
export interface Health {
  status: 'ok' | 'degraded' | 'error'
  checks: Record<string, CheckResult>
}

interface Registered {
  check: Check
  timeoutMs: number
  critical: boolean
  running: Promise<boolean> | null
}

/** What decides about readiness besides Redis and the checks of the application. */
interface Asked {
  draining: () => boolean
  /** Null without MongoDB. */
  pingMongo: () => Promise<boolean | null>
}

const MOST = 50
const RESERVED = ['redis', 'mongodb', 'instance']

/**
 * Readiness. MongoDB decides about it, since pages fail without it; without Redis everything still answers, so that is a
 * degradation only. Checks that are asked for at the same time run once, so a crowd of probes is no load.
 */
export class HealthChecks {
  readonly #link: RedisLink
  readonly #asked: Asked
  readonly #timeoutMs: number
  readonly #log: FastifyBaseLogger
  readonly #checks = new Map<string, Registered>()
  #mongo: Promise<boolean | null> | null = null

  constructor (link: RedisLink, asked: Asked, timeoutMs: number, log: FastifyBaseLogger) {
    this.#link = link
    this.#asked = asked
    this.#timeoutMs = timeoutMs
    this.#log = log
  }

  add (name: string, check: Check, { timeoutMs = this.#timeoutMs, critical = false }: CheckOptions = {}): void {
    checkName('The check', name)
    if (typeof check !== 'function') throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('fn', 'a function')
    if (!(Number.isInteger(timeoutMs) && timeoutMs >= 1 && timeoutMs <= 60_000)) throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('timeoutMs', 'a whole number of milliseconds from 1 to 60000')
    if (this.#checks.has(name) || RESERVED.includes(name)) throw new FST_ERR_CLUSTER_METRICS_DUPLICATE('check', name)
    if (this.#checks.size >= MOST) throw new FST_ERR_CLUSTER_METRICS_TOO_MANY('checks', MOST)
    this.#checks.set(name, { check, timeoutMs, critical, running: null })
  }

  async read (): Promise<Health> {
    const [mongodb, results] = await Promise.all([this.#pingMongo(), this.#runAll()])
    const draining = this.#asked.draining()
    const redis = this.#link.state
    const failed = results.filter(([, ok]) => !ok).map(([name]) => this.#checks.get(name)!)
    const ready = !draining && mongodb !== false && !failed.some(({ critical }) => critical)
    const whole = failed.length === 0 && (redis === 'up' || redis === 'disabled')
    return {
      status: ready ? (whole ? 'ok' : 'degraded') : 'error',
      checks: {
        instance: { status: draining ? 'draining' : 'up' },
        redis: { status: redis },
        mongodb: { status: mongodb === null ? 'disabled' : mongodb ? 'up' : 'down' },
        ...Object.fromEntries(results.map(([name, ok]) => [name, { status: ok ? 'up' : 'down' }]))
      }
    }
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

  async #run (name: string, { check, timeoutMs }: Registered): Promise<boolean> {
    try {
      return await callWithin(timeoutMs, check, () => new Error(`no answer within ${timeoutMs} ms`)) !== false
    } catch (err) {
      this.#log.debug({ err, check: name }, 'a health check failed')
      return false
    }
  }
}
