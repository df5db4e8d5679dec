import type { Report } from '../formats/index.ts'
import type { HealthEvent, HealthStatus } from './events.ts'

/** An instance that was there at the last comparison. */
type Living = [bootId: string, serverId: string, announcesLeaving: boolean]

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
  /** Problems that are announced if they are still there at the next comparison. */
  pending: Record<string, Problem>
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
  /** How long an instance may take to become ready, and all of them to report again after an outage. */
  graceMs: number
}

export const NOTHING_KNOWN: Known = { living: {}, announced: {}, pending: {}, comparedAt: 0, resumedAt: 0 }

/** How long an instance is remembered that is gone: another one may have taken its place for good. */
const FORGET_MS = 24 * 3600_000
const MOST_PROBLEMS = 2000
const WORST: readonly HealthStatus[] = ['up', 'degraded', 'down']
const STATUS = { ok: 'up', degraded: 'degraded', error: 'down' } as const

/** Instances that were there and report no longer: whether they have announced that they leave is to be asked. */
export function missing ({ living }: Known, reports: readonly Report[]): string[] {
  const present = new Set(reports.map(({ instanceId }) => instanceId))
  return Object.entries(living).filter(([instanceId, [, , announcesLeaving]]) => announcesLeaving && !present.has(instanceId)).map(([, [bootId]]) => bootId)
}

/**
 * Which events follow from the reports, and what is known then. Readiness or a check must be bad at two comparisons, and an
 * instance that has just started is given `graceMs`, so a deploy has no event. Nor has a process that is back at the next
 * comparison. After a pause, in which Redis was away, nobody is missed before `graceMs` are over.
 */
export function transitions (known: Known, present: Present, times: Times): { known: Known, events: HealthEvent[] } {
  const { now, graceMs } = times
  const resumedAt = known.comparedAt > 0 && now - known.comparedAt > graceMs ? now : known.resumedAt
  const subjects = subjectsOf(present.reports, times)
  const next: Known = { living: {}, announced: {}, pending: {}, comparedAt: now, resumedAt }
  const began: Array<[key: string, problem: Problem]> = []
  for (const [key, problem] of subjects.bad) {
    const before = known.announced[key]
    const isConfirmed = known.pending[key]?.status === problem.status
    if (before?.status !== problem.status && isConfirmed) began.push([key, { ...problem, since: before?.since ?? known.pending[key]!.since }])
    else if (before?.status !== problem.status) next.pending[key] = problem
    if (before !== undefined) next.announced[key] = before
  }
  const gone = missing(known, present.reports).filter((bootId) => !present.left.has(bootId))
  for (const [instanceId, living] of Object.entries(known.living)) {
    if (!gone.includes(living[0])) continue
    if (now - resumedAt < graceMs) next.living[instanceId] = living
    else began.push([keyOf(instanceId), { status: 'down', since: now, event: { subject: 'instance', instanceId, serverId: living[1], reason: 'gone' } }])
  }
  for (const report of present.reports) next.living[report.instanceId] = [report.bootId, report.serverId, report.announcesLeaving === true]
  const over = ended(known, next, subjects, now)
  for (const [key, problem] of began) next.announced[key] = problem
  next.announced = Object.fromEntries(Object.entries(next.announced).slice(-MOST_PROBLEMS))
  const at = new Date(now).toISOString()
  return { known: next, events: [...began.map(([, { status, event }]) => ({ type: status, ...event, at })), ...over.map(({ since, event: { reason, ...event } }) => ({ type: 'up' as const, ...event, at, afterMs: Math.max(0, now - since) }))] }
}

/** Announced problems that are over. Those of an instance that starts, or is still gone, are kept; the checks of one that is gone or leaves are nobody's. */
function ended (known: Known, next: Known, { good, present, starting }: Subjects, now: number): Problem[] {
  const over: Problem[] = []
  for (const [key, problem] of Object.entries(known.announced)) {
    const { instanceId, reason } = problem.event
    if (next.announced[key] !== undefined) continue
    if (good.has(key)) over.push(problem)
    else if (now - problem.since < FORGET_MS && (present.has(instanceId) ? starting.has(instanceId) : reason === 'gone')) next.announced[key] = problem
  }
  return over
}

const keyOf = (instanceId: string, check?: string): string => JSON.stringify(check === undefined ? [instanceId] : [instanceId, check])

/** Instances and checks by their keys. */
interface Subjects {
  bad: Map<string, Problem>
  good: Set<string>
  /** Instance ids. */
  present: Set<string>
  starting: Set<string>
}

/** Of two instances with one id the worse one counts. */
function subjectsOf (reports: readonly Report[], { now, graceMs }: Times): Subjects {
  const subjects: Subjects = { bad: new Map(), good: new Set(), present: new Set(), starting: new Set() }
  for (const { instanceId, serverId, uptimeMs, instance: { status, uptime, health } } of reports) {
    subjects.present.add(instanceId)
    // An instance that is being taken out of service is no problem.
    if (status !== 'online' || health === undefined) continue
    const isNew = (uptimeMs ?? uptime * 1000) < graceMs
    if (isNew) subjects.starting.add(instanceId)
    const add = (state: HealthStatus, event: Problem['event']) => { if (!isNew || state === 'up') addSubject(subjects, { status: state, since: now, event }) }
    add(STATUS[health.status], { subject: 'instance', instanceId, serverId, ...(health.status === 'error' ? { reason: 'not ready' as const } : {}) })
    for (const [check, { status: state, critical = false }] of Object.entries(health.checks)) {
      if (check !== 'instance' && state !== 'disabled') add(state === 'up' ? 'up' : 'down', { subject: 'check', instanceId, serverId, check, critical })
    }
  }
  return subjects
}

function addSubject ({ bad, good }: Subjects, problem: Problem): void {
  const key = keyOf(problem.event.instanceId, problem.event.check)
  const before = bad.get(key)
  if (before !== undefined && WORST.indexOf(before.status) >= WORST.indexOf(problem.status)) return
  if (problem.status === 'up') {
    good.add(key)
    return
  }
  good.delete(key)
  bad.set(key, problem)
}
