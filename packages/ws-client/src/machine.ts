import type { Status, StatusDetail } from './types.ts'

/** An HTTP answer in place of a WebSocket. */
export interface Refusal {
  readonly httpStatus: number
  readonly reason: string
  /** Whether it came from a server of namespaces, which says that this client may not connect. A proxy knows nothing of that. */
  readonly isFinal: boolean
}

/** How often the server lets itself be heard, and how long it may be silent beyond that. */
export interface Liveness { readonly everyMs: number, readonly timeoutMs: number }

/** What happens. Events of an attempt that is over are ignored. */
export type Event =
  | readonly [type: 'opened' | 'heard', attempt: number]
  | readonly [type: 'welcomed', attempt: number, liveness: Liveness | undefined, windowMs: number | undefined]
  /** The socket said close or error, or could not be made. */
  | readonly [type: 'lost', attempt: number, code: number, reason: string, refusal?: Refusal | null]
  | readonly [type: 'probed', attempt: number, refusal: Refusal | null]
  /** `time`: the deadline passed. `wake`: the network came back, or the page is seen again. */
  | readonly [type: 'time' | 'wake']
  | readonly [type: 'close', attempt: undefined, status: Status, detail: StatusDetail]

/** What is to be done. `abandon` lets go of the socket, `ask` wants to hear from the server. */
export type Effect =
  | readonly [type: 'open' | 'probe' | 'abandon' | 'ask']
  | readonly [type: 'status' | 'end', status: Status, detail: StatusDetail]

export interface MachineOptions {
  readonly connectTimeoutMs: number
  readonly minDelayMs: number
  readonly maxDelayMs: number
  /** Whether credentials are asked for anew at each attempt, so that who was refused may be let in the next time. */
  readonly isRenewable: boolean
  /** Whether it can be found out why a WebSocket did not open. */
  readonly canProbe: boolean
  /** From 0 to 1. */
  random (): number
}

export interface Machine {
  readonly status: Status
  /** Number of the attempt, or of the probe why it failed: events of another one are stale and ignored. */
  readonly attempt: number
  /** When `time` is due; null where nothing is waited for. */
  readonly deadline: number | null
  on (now: number, ...event: Event): readonly Effect[]
}

type Phase = 'opening' | 'greeting' | 'online' | 'probing' | 'waiting' | 'ended'

/** A connection that stands so long resets the backoff. */
const STABLE_MS = 10_000
const PENALTY_FAILURES = 3
const UNAUTHENTICATED = 4401
const FORBIDDEN = 4403
export const ABNORMAL = 1006
/** Shortest time between two attempts, however often the network and the page wake up. */
const LEAST_BETWEEN_MS = 1000
/** Close codes for what the client did: coming back soon would cause the same. */
const PENALTY_CODES = [1009, 1013, 4429]

/**
 * Decides what a client does: all of its states, each with a deadline, and no clock, socket or timer of its own. Whatever
 * happens in whatever order, it comes back where a server is, and not more often than its pauses say.
 *
 * A closure and not a class, as elsewhere in this package: minifiers rename variables, and leave `this` before each field.
 */
export function createMachine ({ connectTimeoutMs, minDelayMs, maxDelayMs, isRenewable, canProbe, random }: MachineOptions): Machine {
  let phase: Phase = 'waiting'
  let status: Status = 'connecting'
  let attempt = 0
  let deadline: number | null = -Infinity
  let startedAt = -Infinity
  /** Attempts that failed since a connection was stable. */
  let failures = 0
  let refusals = 0
  let wasOnline = false
  let detail: StatusDetail = {}
  let everyMs = Infinity
  let timeoutMs = 0
  let reconnectWindowMs = 0
  let stableAt = 0
  let heardAt = 0
  /** When the server was asked whether it is there; null where it was heard since. */
  let askedAt: number | null = null
  /** Whether it was asked once more because the event loop stalled. */
  let wasAskedAgain = false
  /** HTTP status of the last `status` effect. */
  let lastHttpStatus: number | undefined
  let effects: Effect[] = []

  const enter = (next: Phase, now: number, withinMs: number, effect?: 'open' | 'probe'): void => {
    phase = next
    deadline = now + withinMs
    if (effect) effects.push([effect])
  }

  const begin = (now: number): void => {
    startedAt = now
    enter('opening', now, connectTimeoutMs, 'open')
  }

  /** The next look at a connection that stands. */
  const watch = (): void => {
    const next = Math.min(askedAt === null ? heardAt + everyMs : askedAt + timeoutMs, stableAt)
    deadline = next === Infinity ? null : next
  }

  const heard = (now: number): void => {
    heardAt = now
    askedAt = null
    wasAskedAgain = false
    watch()
  }

  const ask = (now: number): void => {
    askedAt = now
    effects.push(['ask'])
  }

  const setStatus = (next: Status): void => {
    const { httpStatus } = detail
    if (next === status && (httpStatus === undefined || httpStatus === lastHttpStatus)) return
    status = next
    lastHttpStatus = httpStatus
    effects.push(['status', next, detail])
  }

  const end = (next: Status): void => {
    phase = 'ended'
    attempt++
    deadline = null
    setStatus(next)
    effects.push(['end', next, detail])
  }

  const bound = (): number => Math.min(maxDelayMs, Math.max(reconnectWindowMs, minDelayMs * 2 ** failures || 0))

  /**
   * Exponential backoff with nearly full jitter, so that the clients of a server that went away do not come back all at once
   * (Marc Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015); never without a pause.
   */
  const wait = (now: number): void => {
    const isPenalty = PENALTY_CODES.includes(detail.code!)
    if (isPenalty) failures = Math.max(failures, PENALTY_FAILURES)
    const least = isPenalty ? 0.5 : 0.1
    enter('waiting', now, bound() * (least + (1 - least) * random()))
    failures++
    setStatus('reconnecting')
  }

  /** Final, unless the credentials are asked for anew at each attempt: then one more attempt. */
  const refused = (now: number): void => {
    if (isRenewable && ++refusals < 2) wait(now)
    else end('auth-required')
  }

  const learn = (refusal: Refusal | null): void => {
    if (refusal) detail = { ...detail, httpStatus: refusal.httpStatus, reason: refusal.reason }
  }

  const lost = (now: number, code: number, reason: string, refusal: Refusal | null = null): void => {
    const hadOpened = phase === 'greeting' || phase === 'online'
    // A server that restarts refuses for a moment: no probe.
    const isFirst = wasOnline && failures <= 1
    // Later events of this attempt are stale.
    attempt++
    effects.push(['abandon'])
    detail = { code, reason }
    learn(refusal)
    if (refusal?.isFinal || code === UNAUTHENTICATED) refused(now)
    else if (code === FORBIDDEN) end('auth-required')
    // A browser does not show a page why a WebSocket did not open, but answers a plain request of the same address.
    else if (hadOpened || refusal || isFirst || !canProbe) wait(now)
    else enter('probing', now, connectTimeoutMs, 'probe')
  }

  const probed = (now: number, refusal: Refusal | null): void => {
    learn(refusal)
    if (refusal?.isFinal) refused(now)
    else wait(now)
  }

  const welcome = (now: number, liveness: Liveness | undefined, windowMs = 0): void => {
    phase = 'online'
    wasOnline = true
    everyMs = liveness?.everyMs ?? Infinity
    timeoutMs = liveness?.timeoutMs ?? 0
    reconnectWindowMs = windowMs
    stableAt = now + STABLE_MS
    detail = {}
    setStatus('connected')
    heard(now)
  }

  const look = (now: number): void => {
    if (now >= stableAt) {
      stableAt = Infinity
      failures = refusals = 0
    }
    if (askedAt === null) {
      if (now >= heardAt + everyMs) ask(now)
    } else if (now >= askedAt + timeoutMs) {
      // The timer fired late, so the event loop stalled: what came meanwhile is not read yet, and the question may not have left. Asks once more.
      if (wasAskedAgain || now < askedAt + 1.5 * timeoutMs) return lost(now, ABNORMAL, 'not heard')
      wasAskedAgain = true
      ask(now)
    }
    watch()
  }

  const due = (now: number): void => {
    if (phase === 'waiting') begin(now)
    else if (phase === 'probing') probed(now, null)
    else if (phase === 'online') look(now)
    else lost(now, ABNORMAL, 'timeout')
  }

  const wake = (now: number): void => {
    if (phase === 'online' && everyMs < Infinity && askedAt === null) {
      ask(now)
      watch()
    } else if (phase === 'waiting') deadline = Math.min(deadline!, Math.max(now, startedAt + Math.min(LEAST_BETWEEN_MS, bound())))
  }

  const handle = (now: number, event: Event): void => {
    switch (event[0]) {
      case 'opened': if (phase === 'opening') enter('greeting', now, 2 * connectTimeoutMs); break
      case 'heard': if (phase === 'online') heard(now); break
      case 'welcomed': if (phase === 'opening' || phase === 'greeting') welcome(now, event[2], event[3]); break
      case 'lost': lost(now, event[2], event[3], event[4]); break
      case 'probed': if (phase === 'probing') probed(now, event[2]); break
      case 'time': if (deadline !== null && now >= deadline) due(now); break
      case 'wake': wake(now); break
      case 'close':
        effects.push(['abandon'])
        detail = event[3]
        end(event[2])
    }
  }

  return {
    get status () { return status },
    get attempt () { return attempt },
    get deadline () { return deadline },
    on (now, ...event) {
      if (phase !== 'ended' && (event[1] === undefined || event[1] === attempt)) handle(now, event)
      const done = effects
      effects = []
      return done
    }
  }
}
