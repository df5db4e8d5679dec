import { parse } from '../formats/index.ts'
import { mergeHistory, type HistoryPoint, type Points } from './history.ts'

/** Length of a step of the history of a day: 360 of them. */
export const DAY_STEP_MS = 240_000

const NUMBERS = ['instances', 'requestsPerSecond', 'errorsPerSecond', 'active', 'cpu', 'memory', 'eventLoopDelay', 'webSocketConnections', 'p50', 'p95', 'p99'] as const

/** Begin of the last step of the day that is complete, where all report at least every `everyMs`. */
export function lastDayStep (now: number, everyMs: number): number {
  const reported = now - 2 * everyMs
  return reported - reported % DAY_STEP_MS - DAY_STEP_MS
}

/** The step of the day that begins then, of all instances; null where nobody reported in it. */
export function dayPoint (instances: readonly Points[], begin: number): HistoryPoint | null {
  return mergeHistory(instances, DAY_STEP_MS).find(({ timestamp }) => Date.parse(timestamp) === begin) ?? null
}

/** Null where it is none. */
export function readDayPoint (text: string): HistoryPoint | null {
  const value = parse(text) as HistoryPoint | null
  if (typeof value?.timestamp !== 'string' || !(Date.parse(value.timestamp) > 0) || !NUMBERS.every((name) => Number.isFinite(value[name]))) return null
  const deployed = Array.isArray(value.deployed) ? value.deployed.filter((one) => typeof one === 'string') : []
  return { timestamp: value.timestamp, ...Object.fromEntries(NUMBERS.map((name) => [name, value[name]])), deployed } as HistoryPoint
}

/** A day: what was kept of it, and of the time for which the instances' own points are there, those. */
export function mergeDay (kept: readonly HistoryPoint[], recent: readonly Points[], { since, until }: { since: number, until: number }): HistoryPoint[] {
  const fresh = mergeHistory(recent, DAY_STEP_MS, until)
  const known = new Set(kept.map(({ timestamp }) => timestamp))
  const added = fresh.filter(({ timestamp }) => !known.has(timestamp))
  return [...kept, ...added].filter(({ timestamp }) => Date.parse(timestamp) >= since - DAY_STEP_MS).sort((a, b) => a.timestamp < b.timestamp ? -1 : 1)
}
