import { addSparse, emptyHistogram, percentiles, toSparse, type Percentiles, type Sparse } from './histogram.ts'
import type { Recorder } from './recorder.ts'
import type { InstanceFacts } from './report.ts'

/** What one instance was like between two reports. */
export interface Point {
  requests: number
  errors: number
  active: number
  /** Percent of a core. */
  cpu: number
  /** MiB. */
  rss: number
  /** Milliseconds. */
  delay: number
  sockets: number
  latency: Sparse
}

/** What all instances were like in one step of time. */
export interface HistoryPoint extends Percentiles {
  timestamp: string
  instances: number
  requestsPerSecond: number
  errorsPerSecond: number
  active: number
  /** Mean over the instances, in percent of a core. */
  cpu: number
  /** Sum over the instances, in MiB. */
  memory: number
  /** Worst instance, in milliseconds. */
  eventLoopDelay: number
  webSocketConnections: number
}

const MOST_POINTS = 400

/** The points of this process, in memory for the time without Redis. */
export class History {
  readonly points: Array<[at: number, point: Point]> = []
  #requests = 0
  #errors = 0
  #latency = emptyHistogram()

  /** Makes the point since the last call. */
  take (recorder: Recorder, { cpu, eventLoop, processInfo, websockets }: InstanceFacts, now: number): Point {
    const point = {
      requests: recorder.requests - this.#requests,
      errors: recorder.errors - this.#errors,
      active: recorder.active,
      cpu,
      rss: Math.round(processInfo.memoryUsage.rss / 2 ** 20),
      delay: eventLoop.delay.p99,
      sockets: websockets.localConnections,
      latency: toSparse(recorder.latency, undefined, this.#latency)
    }
    this.#requests = recorder.requests
    this.#errors = recorder.errors
    this.#latency = recorder.latency.slice()
    this.points.push([now, point])
    if (this.points.length > MOST_POINTS) this.points.shift()
    return point
  }
}

/** A point as one line: short, because there are 360 of them per instance and hour. */
export function encodePoint ({ requests, errors, active, cpu, rss, delay, sockets, latency }: Point): string {
  return [requests, errors, active, cpu, rss, delay, sockets, latency].join(',')
}

/** Reads `<time> <point>`; null where it is none. */
export function decodePoint (member: string): [at: number, point: Point] | null {
  const space = member.indexOf(' ')
  const at = Number(member.slice(0, space))
  const fields = member.slice(space + 1).split(',')
  const latency = fields[7]
  const numbers = fields.slice(0, 7).map(Number)
  if (!(at > 0) || latency === undefined || !numbers.every(Number.isFinite)) return null
  const [requests, errors, active, cpu, rss, delay, sockets] = numbers as [number, number, number, number, number, number, number]
  return [at, { requests, errors, active, cpu, rss, delay, sockets, latency }]
}

/**
 * Adds up the points of all instances in steps of time. Within one step an instance may have several points: requests
 * add up, states are those of its last one.
 */
export function mergeHistory (instances: ReadonlyArray<ReadonlyArray<[at: number, point: Point]>>, stepMs: number): HistoryPoint[] {
  const steps = new Map<number, { last: Point[], requests: number, errors: number, latency: Float64Array }>()
  for (const points of instances) {
    const lastOf = new Map<number, Point>()
    for (const [at, point] of points) {
      const begin = at - at % stepMs
      const step = steps.get(begin) ?? { last: [], requests: 0, errors: 0, latency: emptyHistogram() }
      step.requests += point.requests
      step.errors += point.errors
      addSparse(step.latency, point.latency)
      steps.set(begin, step)
      lastOf.set(begin, point)
    }
    for (const [begin, point] of lastOf) steps.get(begin)!.last.push(point)
  }
  return [...steps].sort(([a], [b]) => a - b).map(([begin, { last, requests, errors, latency }]) => ({
    timestamp: new Date(begin).toISOString(),
    instances: last.length,
    requestsPerSecond: round(requests / stepMs * 1000),
    errorsPerSecond: round(errors / stepMs * 1000),
    active: sum(last, 'active'),
    cpu: round(sum(last, 'cpu') / last.length),
    memory: sum(last, 'rss'),
    eventLoopDelay: Math.max(...last.map(({ delay }) => delay)),
    webSocketConnections: sum(last, 'sockets'),
    ...percentiles(latency)
  }))
}

const sum = (points: Point[], field: Exclude<keyof Point, 'latency'>) => points.reduce((total, point) => total + point[field], 0)
const round = (value: number) => Math.round(value * 100) / 100
