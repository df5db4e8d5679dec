/** How an instance or a check is: `down` where it is gone, not ready, or fails; `degraded` where the instance is ready none the less. */
export type HealthStatus = 'up' | 'degraded' | 'down'

/** What became of an instance, or of a check of one. */
export interface HealthEvent {
  type: HealthStatus
  subject: 'instance' | 'check'
  instanceId: string
  serverId: string
  /** `gone`: an instance reports no longer and has not said that it leaves. `not ready`: its `/health` answers 503. Of `up`, `left`: the instance has said that it leaves, or the check is no more; `forgotten`: the instance has been away for a day. */
  reason?: 'gone' | 'not ready' | 'left' | 'forgotten'
  /** Name of the check. */
  check?: string
  /** Whether the instance is not ready without the check. */
  critical?: boolean
  /** When it was noticed, as an ISO time. */
  at: string
  /** Of `up`: how long it was not, in milliseconds. */
  afterMs?: number
}

/** What listeners get. */
export interface HealthEvents {
  down: [event: HealthEvent]
  up: [event: HealthEvent]
  degraded: [event: HealthEvent]
}

const SHAPES = { down: '■', degraded: '▲', up: '●' } as const

/** One line for people, with a shape that says as much as a colour. */
export function sentenceOf ({ type, subject, instanceId, check, reason }: HealthEvent): string {
  const what = reason === 'left' ? 'no more' : reason === 'forgotten' ? 'forgotten, after a day without it' : type === 'up' ? 'up again' : reason ?? type
  return `${SHAPES[type]} ${subject === 'check' ? `${check} of ${instanceId}` : instanceId} is ${what}`
}
