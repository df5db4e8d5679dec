import { monitorEventLoopDelay, performance, type EventLoopUtilization, type IntervalHistogram } from 'node:perf_hooks'

export interface Runtime {
  /** Share of one core since the last sample, in percent. */
  cpu: number
  /** Of the heap, in MiB. */
  memory: { used: number, total: number }
  eventLoop: {
    /** Beyond the sampling interval, since the last sample, in milliseconds. */
    delay: { p50: number, p99: number, max: number }
    /** Share of the time in which the event loop was busy, 0 to 1. */
    utilization: number
    /** Longest delay of the last minute, in milliseconds. */
    maxOfMinute: number
  }
  memoryUsage: { rss: number, heapTotal: number, heapUsed: number, external: number, arrayBuffers: number }
}

const RESOLUTION_MS = 20
const WATCH_MS = 50
/** A delay from here on is a stall. */
const STALL_MS = 100
const MINUTE_MS = 60_000

/**
 * How long the event loop stood still. A percentile hides it: one stall of five seconds is one sample among hundreds.
 */
export class Stalls {
  blockedMs = 0
  readonly #delays: Array<[at: number, ms: number]> = []
  readonly #timer: NodeJS.Timeout
  #at = performance.now()

  constructor () {
    this.#timer = setInterval(() => { this.look() }, WATCH_MS).unref()
  }

  /** Forgets what was: while modules are loaded the event loop stands still, and nobody waits for it. */
  restart (): void {
    this.blockedMs = 0
    this.#delays.length = 0
    this.#at = performance.now()
  }

  look (now = performance.now()): void {
    const ms = now - this.#at - WATCH_MS
    this.#at = now
    if (ms < STALL_MS) return
    this.blockedMs += ms
    this.#delays.push([now, ms])
    if (this.#delays.length > MINUTE_MS / STALL_MS) this.#delays.shift()
  }

  /** Longest one of the last minute, in milliseconds; 0 where there was none. */
  maxOfMinute (now = performance.now()): number {
    return Math.max(0, ...this.#delays.filter(([at]) => now - at < MINUTE_MS).map(([, ms]) => ms))
  }

  close (): void {
    clearInterval(this.#timer)
  }
}

/** Looks at this process. What is measured over time is measured between two samples. */
export class RuntimeSampler {
  readonly stalls = new Stalls()
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  #cpuUsage = process.cpuUsage()
  #at = performance.now()
  #utilization: EventLoopUtilization = performance.eventLoopUtilization()
  #last: Pick<Runtime, 'cpu'> & { eventLoop: Omit<Runtime['eventLoop'], 'maxOfMinute'> } = { cpu: 0, eventLoop: { delay: { p50: 0, p99: 0, max: 0 }, utilization: 0 } }

  constructor () {
    this.#delay.enable()
  }

  /** Begins to measure: the application is ready. */
  start (): void {
    this.stalls.restart()
    this.#delay.reset()
  }

  /** Ends the interval of what is measured over time. */
  sample (): void {
    const now = performance.now()
    const { user, system } = process.cpuUsage(this.#cpuUsage)
    const utilization = performance.eventLoopUtilization()
    const elapsed = Math.max(1, now - this.#at)
    this.#last = {
      cpu: round((user + system) / 10 / elapsed, 1),
      eventLoop: {
        delay: { p50: this.#ms(this.#delay.percentile(50)), p99: this.#ms(this.#delay.percentile(99)), max: this.#ms(this.#delay.max) },
        // NaN between two samples of one moment.
        utilization: round(performance.eventLoopUtilization(utilization, this.#utilization).utilization || 0, 4)
      }
    }
    this.#cpuUsage = process.cpuUsage()
    this.#at = now
    this.#utilization = utilization
    this.#delay.reset()
  }

  read (): Runtime {
    const { rss, heapTotal, heapUsed, external, arrayBuffers } = process.memoryUsage()
    const { cpu, eventLoop } = this.#last
    return {
      cpu,
      eventLoop: { ...eventLoop, maxOfMinute: round(Math.max(eventLoop.delay.max, this.stalls.maxOfMinute()), 2) },
      memory: { used: mib(heapUsed), total: mib(heapTotal) },
      memoryUsage: { rss, heapTotal, heapUsed, external, arrayBuffers }
    }
  }

  close (): void {
    this.#delay.disable()
    this.stalls.close()
  }

  /** The histogram holds the time between two of its timers, in nanoseconds; its maximum is 0 or NaN where it is empty. */
  #ms (ns: number): number {
    return Number.isFinite(ns) ? Math.max(0, round(ns / 1e6 - RESOLUTION_MS, 2)) : 0
  }
}

export const mib = (bytes: number): number => round(bytes / 2 ** 20, 1)

export function round (value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits
}
