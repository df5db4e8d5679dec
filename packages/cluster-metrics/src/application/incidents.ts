import type { Health, Incident } from '../formats/index.ts'

type Status = Incident['now']

interface Tracked extends Incident {
  /** What the last report said, and since when it is not `up`, by performance.now(). */
  last: Status
  since: number
}

const STATUS = { ok: 'up', degraded: 'degraded', error: 'down' } as const
const WORST: readonly Status[] = ['up', 'degraded', 'down']

/**
 * What went wrong with this instance and its checks, as each report tells the others: bad in two reports in a row is an
 * incident, good in one ends it. They are counted here, so that one is told that began and ended between two looks of those who tell.
 */
export class Incidents {
  readonly #graceMs: number
  readonly #all = new Map<string, Tracked>()

  /** @param graceMs how long after its start an instance may take to become ready */
  constructor (graceMs: number) {
    this.#graceMs = graceMs
  }

  /** Takes what a report says. @param uptimeMs since the start of the process */
  take ({ status, checks }: Health, uptimeMs: number, now = performance.now()): void {
    if (checks.instance?.status === 'draining') return
    const isStarting = uptimeMs < this.#graceMs
    // Without Redis one process tells of itself, at once: nobody is to be told afterwards.
    const isAlone = checks.redis !== undefined && checks.redis.status !== 'up' && checks.redis.status !== 'disabled'
    const states = Object.entries(checks).map(([name, check]) => [name, check.status === 'up' || check.status === 'disabled' ? 'up' : 'down'] as const)
    for (const [name, state] of new Map<string, Status>([...states, ['instance', STATUS[status]]])) this.#takeOne(name, state, { isStarting, isAlone, now })
  }

  /** Those that there ever were, by check; `instance` is the instance as a whole. */
  read (): Record<string, Incident> {
    return Object.fromEntries([...this.#all].filter(([, { count, now }]) => count > 0 || now !== 'up').map(([name, { count, now, worst, ms }]) => [name, { count, now, worst, ms }]))
  }

  #takeOne (name: string, state: Status, { isStarting, isAlone, now }: { isStarting: boolean, isAlone: boolean, now: number }): void {
    let one = this.#all.get(name)
    if (one === undefined) this.#all.set(name, one = { count: 0, now: 'up', worst: 'up', ms: 0, last: 'up', since: now })
    // As bad as it was in both reports.
    const confirmed = WORST[Math.min(WORST.indexOf(one.last), WORST.indexOf(state))]!
    if (one.last === 'up' && one.now === 'up') one.since = now
    if (one.now !== 'up' || confirmed !== 'up') one.ms = Math.round(now - one.since)
    if (state === 'up') one.now = 'up'
    else if (confirmed !== 'up' && !isStarting) confirm(one, confirmed, isAlone)
    one.last = state
  }
}

function confirm (one: Tracked, status: Status, isAlone: boolean): void {
  const begins = one.now === 'up'
  if (begins && !isAlone) one.count++
  one.worst = begins || WORST.indexOf(status) > WORST.indexOf(one.worst) ? status : one.worst
  one.now = status
}
