import type { Incident, Report } from '../formats/index.ts'
import type { HealthEvent, HealthStatus } from './events.ts'

/** An instance that was there at the last comparison, and how many incidents it had of each check. */
type Living = [bootId: string, serverId: string, announcesLeaving: boolean, incidents?: Record<string, number>]

/** A subject that is not up. */
interface Problem {
  status: HealthStatus
  since: number
  event: Omit<HealthEvent, 'type' | 'at'>
}

/** What was announced, by the keys of the subjects. */
export interface Known {
  /** By instance id. */
  living: Record<string, Living>
  /** Problems that were announced, and are not over. */
  announced: Record<string, Problem>
  /** When the reports were compared last, and when that began anew after a pause. */
  comparedAt: number
  resumedAt: number
}

/** The living, and who of those that are gone has announced that it leaves. */
export interface Present {
  reports: readonly Report[]
  left: ReadonlySet<string>
}

interface Times {
  now: number
  /** How long all may take to report again after an outage. */
  graceMs: number
  /** Whether the process that compares has just been without Redis for a while, as the others may have been. */
  isBack?: boolean
}

export const NOTHING_KNOWN: Known = { living: {}, announced: {}, comparedAt: 0, resumedAt: 0 }

/** One process whose own connection breaks again and again may not keep the others from being missed: pauses of `graceMs` between two that it brings about. */
const REST = 3

/** How long an instance is remembered that is gone: another one may have taken its place for good. */
const FORGET_MS = 24 * 3600_000
const MOST_PROBLEMS = 2000

/** Instances that were there and report no longer: whether they have announced that they leave is to be asked. */
export function missing ({ living }: Known, reports: readonly Report[]): string[] {
  const present = new Set(reports.map(({ instanceId }) => instanceId))
  return Object.entries(living).filter(([instanceId, [, , announcesLeaving]]) => announcesLeaving && !present.has(instanceId)).map(([, [bootId]]) => bootId)
}

/**
 * Which events follow from the reports, and what is known then. What an instance reports has already been bad twice, and not while it
 * started, so a deploy has no event. Nor has a process that is back at the next comparison. What began and ended since the last comparison
 * is told as both. After a pause, in which Redis was away, nobody is missed before `graceMs` are over.
 */
export function transitions (known: Known, present: Present, times: Times): { known: Known, events: HealthEvent[] } {
  const { now, graceMs, isBack = false } = times
  // Reports that are written three times as often as they expire may be gone after a pause of two thirds of that time; and after a
  // shorter one where a process takes long to connect again.
  const hasPaused = known.comparedAt > 0 && (now - known.comparedAt > graceMs / 2 || (isBack && now - known.resumedAt > REST * graceMs))
  const resumedAt = hasPaused ? now : Math.min(known.resumedAt, now)
  const subjects = subjectsOf(known, present.reports, now)
  const next: Known = { living: {}, announced: {}, comparedAt: now, resumedAt }
  const began: Array<[key: string, problem: Problem]> = []
  for (const [key, { state, problem }] of subjects) {
    if (state !== 'bad') continue
    const before = known.announced[key]
    if (before?.status === problem.status) next.announced[key] = before
    else began.push([key, { ...problem, since: before?.since ?? problem.since }])
  }
  const gone = missing(known, present.reports).filter((bootId) => !present.left.has(bootId))
  for (const [instanceId, living] of Object.entries(known.living)) {
    if (!gone.includes(living[0])) continue
    if (now - resumedAt < graceMs) next.living[instanceId] = living
    else began.push([keyOf(instanceId), { status: 'down', since: now, event: { subject: 'instance', instanceId, serverId: living[1], reason: 'gone' } }])
  }
  for (const report of present.reports) next.living[report.instanceId] = livingOf(report)
  const over = ended(known, next, { ...present, subjects, now, again: new Set(began.map(([key]) => key)) })
  for (const [key, problem] of began) next.announced[key] = problem
  next.announced = Object.fromEntries(Object.entries(next.announced).slice(-MOST_PROBLEMS))
  const at = new Date(now).toISOString()
  const missed = [...subjects].filter(([key, { state }]) => state === 'missed' && known.announced[key] === undefined).map(([, { problem }]) => problem)
  const problems = [...began.map(([, problem]) => problem), ...missed].map(({ status, event }) => ({ type: status, ...event, at }))
  const ends = [...over, ...missed.map(({ event: { reason: _, ...event }, since }) => ({ event, since }))]
    .map(({ since, event }) => ({ type: 'up' as const, ...event, at, afterMs: Math.max(0, now - since) }))
  return { known: next, events: [...problems, ...ends] }
}

interface Found extends Present {
  subjects: Subjects
  now: number
  /** What has begun, by key. */
  again: ReadonlySet<string>
}

/** Announced problems that are over. Those of an instance that starts, stops, or is gone without a word are kept. */
function ended (known: Known, next: Known, { reports, left, subjects, now, again }: Found): Array<Pick<Problem, 'event' | 'since'>> {
  const present = new Set(reports.map(({ instanceId }) => instanceId))
  const heard = new Set(reports.filter(({ instance: { status, health }, incidents }) => status === 'online' && health !== undefined && incidents !== undefined).map(({ instanceId }) => instanceId))
  const over: Array<Pick<Problem, 'event' | 'since'>> = []
  for (const [key, problem] of Object.entries(known.announced)) {
    if (next.announced[key] !== undefined || again.has(key)) continue
    const { event: { reason: _, ...event }, since } = problem
    const state = subjects.get(key)?.state
    const hasLeft = present.has(event.instanceId) ? heard.has(event.instanceId) && state === undefined : left.has(known.living[event.instanceId]?.[0] ?? '')
    if (hasLeft) over.push({ event: { ...event, reason: 'left' }, since })
    else if (state === 'good' || state === 'missed') over.push({ event, since })
    else if (present.has(event.instanceId) || now - since < FORGET_MS) next.announced[key] = problem
    else over.push({ event: { ...event, reason: 'forgotten' }, since })
  }
  return over
}

const keyOf = (instanceId: string, check?: string): string => JSON.stringify(check === undefined ? [instanceId] : [instanceId, check])

/** The problems that were announced of one instance. */
export function announcedOf ({ announced }: Known, instanceId: string): Known['announced'] {
  return Object.fromEntries(Object.entries(announced).filter(([, { event }]) => event.instanceId === instanceId))
}

function livingOf ({ bootId, serverId, announcesLeaving, incidents = {} }: Report): Living {
  const counts = Object.entries(incidents).filter(([, { count }]) => count > 0).map(([check, { count }]) => [check, count] as const)
  const living: Living = [bootId, serverId, announcesLeaving === true]
  return counts.length === 0 ? living : [...living.slice(0, 3) as [string, string, boolean], Object.fromEntries(counts)]
}

/** `missed`: it is good again, and was not when nobody looked. `unsure`: it is bad in the last report only, or starts. */
const STATES = ['good', 'missed', 'unsure', 'bad'] as const

interface Subject {
  state: typeof STATES[number]
  problem: Problem
}

/** Instances and checks by their keys. */
type Subjects = Map<string, Subject>

/** Of two instances with one id the worse one counts. */
function subjectsOf (known: Known, reports: readonly Report[], now: number): Subjects {
  const subjects: Subjects = new Map()
  for (const { instanceId, bootId, serverId, incidents, instance: { status, health } } of reports) {
    // An instance that is being taken out of service is no problem.
    if (status !== 'online' || health === undefined || incidents === undefined) continue
    const living = known.living[instanceId]
    // Of a process that was not known there is nothing to compare with.
    const countOf = (check: string): number => living?.[0] === bootId ? living[3]?.[check] ?? 0 : Infinity
    add(subjects, keyOf(instanceId), health.status === 'ok', incidents.instance, countOf('instance'), { subject: 'instance', instanceId, serverId }, now)
    for (const [check, { status, critical = false }] of Object.entries(health.checks)) {
      if (check !== 'instance' && status !== 'disabled') add(subjects, keyOf(instanceId, check), status === 'up', incidents[check], countOf(check), { subject: 'check', instanceId, serverId, check, critical }, now)
    }
  }
  return subjects
}

function add (subjects: Subjects, key: string, isUp: boolean, incident: Incident | undefined, count: number, event: Problem['event'], now: number): void {
  const { now: status = 'up', worst = 'up', ms = 0 } = incident ?? {}
  const state = status !== 'up' ? 'bad' : !isUp ? 'unsure' : (incident?.count ?? 0) > count ? 'missed' : 'good'
  const shown = state === 'bad' ? status : worst
  const reason = shown === 'down' && event.subject === 'instance' ? { reason: 'not ready' as const } : {}
  const subject: Subject = { state, problem: { status: shown, since: now - ms, event: { ...event, ...reason } } }
  const before = subjects.get(key)
  if (before === undefined || rank(subject) > rank(before)) subjects.set(key, subject)
}

const rank = ({ state, problem }: Subject): number => STATES.indexOf(state) + (problem.status === 'down' ? 0.5 : 0)
