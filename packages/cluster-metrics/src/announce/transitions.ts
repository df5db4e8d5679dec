import type { Report } from '../formats/index.ts'
import type { HealthEvent, HealthStatus } from './events.ts'

/** What is known of an instance that lives, or did. */
type Living = [bootId: string, serverId: string, saysSo: boolean]

/** What was told of a subject that is not up, or is to be told if it stays so until the next look. */
interface Bad {
  status: HealthStatus
  since: number
  event: Omit<HealthEvent, 'type' | 'at'>
}

/** What has been told, by the keys of the subjects. */
export interface Known {
  /** By instance id. */
  living: Record<string, Living>
  told: Record<string, Bad>
  pending: Record<string, Bad>
}

/** The living, and who of those that are gone has said that it leaves. */
export interface Present {
  reports: readonly Report[]
  left: ReadonlySet<string>
}

export const NOTHING_KNOWN: Known = { living: {}, told: {}, pending: {} }

/** How long an instance is remembered that is down: another one may have taken its place for good. */
const FORGET_MS = 24 * 3600_000
const MOST_TOLD = 2000
const WORST: readonly HealthStatus[] = ['up', 'degraded', 'down']

/** Instances that are known to live and report no longer: whether they have said that they leave is to be asked. */
export function missing ({ living }: Known, reports: readonly Report[]): string[] {
  const present = new Set(reports.map(({ instanceId }) => instanceId))
  return Object.entries(living).filter(([instanceId, [, , saysSo]]) => saysSo && !present.has(instanceId)).map(([, [bootId]]) => bootId)
}

/**
 * What is to be told, and what is known then. A check or readiness must stay bad for two looks, and an instance that has just
 * started is given `graceMs`: so a deploy tells nothing. One whose process is back at the next look was not down.
 */
export function transitions (known: Known, { reports, left }: Present, { now, graceMs }: { now: number, graceMs: number }): { known: Known, events: HealthEvent[] } {
  const events: HealthEvent[] = []
  const next: Known = { living: {}, told: {}, pending: {} }
  const at = new Date(now).toISOString()
  const tell = (key: string, bad: Bad) => {
    next.told[key] = bad
    events.push({ type: bad.status, ...bad.event, at })
  }
  const bads = subjectsOf(reports, now, graceMs)
  for (const [key, bad] of bads.bad) {
    const before = known.told[key]
    if (before?.status === bad.status) next.told[key] = before
    else if (known.pending[key]?.status === bad.status) tell(key, { ...bad, since: before?.since ?? known.pending[key].since })
    else {
      next.pending[key] = bad
      if (before !== undefined) next.told[key] = before
    }
  }
  for (const [instanceId, [bootId, serverId, saysSo]] of Object.entries(known.living)) {
    if (bads.present.has(instanceId) || left.has(bootId) || !saysSo) continue
    const key = keyOf(instanceId)
    tell(key, { status: 'down', since: now, event: { subject: 'instance', instanceId, serverId, reason: 'gone' } })
  }
  for (const [key, bad] of Object.entries(known.told)) {
    const { instanceId, reason } = bad.event
    if (next.told[key] !== undefined) continue
    if (bads.good.has(key)) events.push({ type: 'up', ...withoutReason(bad.event), at, afterMs: Math.max(0, now - bad.since) })
    // It starts, or it is still gone. The checks of who is gone, or left, are nobody's.
    else if (now - bad.since < FORGET_MS && (bads.present.has(instanceId) ? bads.starting.has(instanceId) : reason === 'gone')) next.told[key] = bad
  }
  for (const report of reports) next.living[report.instanceId] = [report.bootId, report.serverId, report.saysSo === true]
  next.told = Object.fromEntries(Object.entries(next.told).slice(-MOST_TOLD))
  return { known: next, events }
}

const keyOf = (instanceId: string, check?: string): string => JSON.stringify(check === undefined ? [instanceId] : [instanceId, check])

const withoutReason = ({ reason, ...event }: Bad['event']): Bad['event'] => event

/** Every instance and check that is there, good or bad. Of two instances with one id the worse one counts. */
function subjectsOf (reports: readonly Report[], now: number, graceMs: number) {
  const bad = new Map<string, Bad>()
  const good = new Set<string>()
  const [present, starting] = [new Set<string>(), new Set<string>()]
  const look = (key: string, status: HealthStatus, event: Bad['event']) => {
    const before = bad.get(key)
    if (status === 'up' || (before !== undefined && WORST.indexOf(before.status) >= WORST.indexOf(status))) {
      if (before === undefined) good.add(key)
      return
    }
    good.delete(key)
    bad.set(key, { status, since: now, event })
  }
  for (const { instanceId, serverId, uptimeMs, instance: { status, uptime, health } } of reports) {
    present.add(instanceId)
    // Who is being taken out of service is no fault.
    if (status !== 'online' || health === undefined) continue
    const isNew = (uptimeMs ?? uptime * 1000) < graceMs
    if (isNew) starting.add(instanceId)
    const own = { ok: 'up', degraded: 'degraded', error: 'down' } as const
    const consider = isNew ? (key: string, status: HealthStatus, event: Bad['event']) => { if (status === 'up') look(key, status, event) } : look
    consider(keyOf(instanceId), own[health.status], { subject: 'instance', instanceId, serverId, ...(health.status === 'error' ? { reason: 'not ready' as const } : {}) })
    for (const [check, { status: found, critical = false }] of Object.entries(health.checks)) {
      if (check === 'instance' || found === 'disabled') continue
      consider(keyOf(instanceId, check), found === 'up' ? 'up' : 'down', { subject: 'check', instanceId, serverId, check, critical })
    }
  }
  return { bad, good, present, starting }
}
