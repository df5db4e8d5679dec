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
  /** Versions of the application that run in this step and did not in the three before: deploys. */
  deployed: string[]
}

/** One instance's points, in order. */
export type Points = ReadonlyArray<readonly [at: number, point: Point]>

/** Steps in which everybody reports at least once, however late. */
const REPORTED_WITHIN = 3

interface Step {
  last: Point[]
  requests: number
  errors: number
  latency: Float64Array
}

/**
 * Adds up the points of all instances in steps of time. What a point counted is spread over the time since the point
 * before, because reports and steps do not keep the same pace; states are those of an instance's last point in a step, or
 * before it where the step lies between two reports.
 *
 * @param until end of what all instances have reported: the step that it lies in is not complete, and left out
 */
export function mergeHistory (instances: readonly Points[], stepMs: number, until = Infinity): HistoryPoint[] {
  const steps = new Map<number, Step>()
  const stepOf = (begin: number) => {
    const step = steps.get(begin) ?? { last: [], requests: 0, errors: 0, latency: emptyHistogram() }
    steps.set(begin, step)
    return step
  }
  for (const points of instances) {
    const lastOf = new Map<number, Point>()
    points.forEach(([at, point], index) => {
      const begin = at - at % stepMs
      const before = points[index - 1]
      addSparse(stepOf(begin).latency, point.latency)
      lastOf.set(begin, point)
      for (const [first, share] of shares(before?.[0] ?? at, at, stepMs)) {
        const step = stepOf(first)
        step.requests += share * point.requests
        step.errors += share * point.errors
        if (before !== undefined && !lastOf.has(first)) lastOf.set(first, before[1])
      }
    })
    for (const [begin, point] of lastOf) stepOf(begin).last.push(point)
  }
  const complete = [...steps].filter(([begin, { last }]) => last.length > 0 && begin + stepMs <= until).sort(([a], [b]) => a - b)
  return complete.map(([begin, step], index) => pointOf(begin, step, stepMs, complete.slice(Math.max(0, index - REPORTED_WITHIN), index).map(([, before]) => before)))
}

const versionsOf = ({ last }: Step): Set<string> => new Set(last.map(({ version }) => version).filter((version) => version !== ''))

/** Deploys are told where there is something to compare with. */
function deployedIn (step: Step, before: readonly Step[]): string[] {
  const known = new Set(before.flatMap((one) => [...versionsOf(one)]))
  return known.size === 0 ? [] : [...versionsOf(step)].filter((version) => !known.has(version))
}

/** The steps between two times, and the share of the time that lies in each. A longer pause than three steps was none of counting. */
function shares (from: number, to: number, stepMs: number): Array<[begin: number, share: number]> {
  const begin = to - to % stepMs
  if (from >= to || from >= begin || to - from > 3 * stepMs) return [[begin, 1]]
  const found: Array<[number, number]> = []
  for (let first = from - from % stepMs; first < to; first += stepMs) {
    found.push([first, (Math.min(to, first + stepMs) - Math.max(from, first)) / (to - from)])
  }
  return found
}

function pointOf (begin: number, step: Step, stepMs: number, before: readonly Step[]): HistoryPoint {
  const { last, requests, errors, latency } = step
  return {
    timestamp: new Date(begin).toISOString(),
    instances: last.length,
    requestsPerSecond: round(requests / stepMs * 1000),
    errorsPerSecond: round(errors / stepMs * 1000),
    active: sum(last, 'active'),
    cpu: round(sum(last, 'cpu') / last.length),
    memory: sum(last, 'rss'),
    eventLoopDelay: Math.max(...last.map(({ delay }) => delay)),
    webSocketConnections: sum(last, 'sockets'),
    deployed: deployedIn(step, before),
    ...percentiles(latency)
  }
}

const sum = (points: Point[], field: Exclude<keyof Point, 'latency' | 'version'>) => points.reduce((total, point) => total + point[field], 0)
const round = (value: number) => Math.round(value * 100) / 100
