import { addSparse, emptyHistogram, percentiles, type Percentiles, type Point } from '../formats/index.ts'

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
