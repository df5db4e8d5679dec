import type { ClientOptions, Status, StatusDetail } from './types.ts'

/** An HTTP answer in place of a WebSocket. */
export interface Refusal {
  readonly httpStatus: number
  readonly reason: string
  /** As a close code: 4401, 4403, 4404 and so on from a server of namespaces; 0 from a proxy, which knows nothing of that. */
  readonly code: number
  /** How long to stay away, in milliseconds, as `Retry-After` says; NaN, or no more than 0, where it does not. */
  readonly holdMs?: number
}

/** How often the server lets itself be heard, and how long it may be silent beyond that. */
export interface Liveness { readonly everyMs: number, readonly timeoutMs: number }

/** What happens, with what is known of it. */
interface Handlers {
  opened (now: number): void
  heard (now: number): void
  welcomed (now: number, liveness: Liveness | undefined, windowMs: number | undefined): void
  /** The socket said close or error, or could not be made. */
  lost (now: number, code: number, reason?: string, refusal?: Refusal | null): void
  probed (now: number, refusal: Refusal | null): void
  /** The deadline passed. */
  time (now: number): void
  /** The network came back, or the page is seen again; for a namespace on a socket of several: that socket stands again. */
  wake (now: number): void
  close (now: number, status: Status, detail: StatusDetail): void
}

/** Events of an attempt that is over are ignored; those without one are of the client. */
export type Event = { [T in keyof Handlers]: readonly [type: T, attempt?: number, ...rest: Parameters<Handlers[T]> extends [number, ...infer Rest] ? Rest : never] }[keyof Handlers]

/** What is to be done. */
export interface Effects {
  open (): void
  probe (): void
  /** Lets go of the socket. */
  abandon (): void
  /** The server knows no such namespace. It may later: the client goes on trying. */
  missing (reason: string): void
  /** Asks the server to let itself be heard. */
  ask (): void
  status (status: Status, detail: StatusDetail): void
  end (status: Status, detail: StatusDetail): void
}

type Effect = { [T in keyof Effects]: readonly [type: T, ...rest: Parameters<Effects[T]>] }[keyof Effects]

export interface MachineOptions extends Pick<ClientOptions, 'minDelayMs' | 'maxDelayMs' | 'WebSocket'> {
  readonly connectTimeoutMs: number
  /** Whether credentials are asked for anew at each attempt, so that who was refused may be let in the next time. */
  readonly isRenewable: boolean
  /** From 0 to 1. */
  random (): number
}

export interface Machine {
  readonly status: Status
  /** Number of the attempt, or of the probe why it failed: events of another one are stale and ignored. */
  readonly attempt: number
  /** When `time` is due; Infinity where nothing is waited for. */
  readonly deadline: number
  on (now: number, ...event: Event): readonly Effect[]
}

/** What the client is up to, in the order in which it comes: numbers, which a bundler puts in the place of their names. */
const OPENING = 0
const GREETING = 1
const ONLINE = 2
const PROBING = 3
const WAITING = 4
const ENDED = 5

/** A connection that stands so long resets the backoff. */
const STABLE_MS = 10_000
const PENALTY_FAILURES = 3
const UNAUTHENTICATED = 4401
const FORBIDDEN = 4403
const NOT_FOUND = 4404
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
export function createMachine ({ connectTimeoutMs, minDelayMs = 250, maxDelayMs = 10_000, isRenewable, WebSocket, random }: MachineOptions): Machine {
  let phase = WAITING
  let status: Status = 'connecting'
  let attempt = 0
  let deadline = -Infinity
  let startedAt = -Infinity
  /** How long the last refusal wants the client to stay away. */
  let holdMs: number | undefined
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

  const enter = (next: number, now: number, withinMs: number, effect?: 'open' | 'probe'): void => {
    phase = next
    deadline = now + withinMs
    if (effect) effects.push([effect])
  }

  /** The next look at a connection that stands. */
  const watch = (): void => {
    deadline = Math.min(askedAt === null ? heardAt + everyMs : askedAt + timeoutMs, stableAt)
  }

  const heard = (now: number): void => {
    if (phase !== ONLINE) return
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
    if (next === status && (!detail.httpStatus || detail.httpStatus === lastHttpStatus)) return
    status = next
    lastHttpStatus = detail.httpStatus
    effects.push(['status', next, detail])
  }

  const end = (next: Status): void => {
    phase = ENDED
    attempt++
    deadline = Infinity
    setStatus(next)
    effects.push(['end', next, detail])
  }

  const bound = (): number => Math.min(maxDelayMs, Math.max(reconnectWindowMs, minDelayMs * 2 ** failures || 0))

  /**
   * Exponential backoff with nearly full jitter, so that the clients of a server that went away do not come back all at once
   * (Marc Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015); never without a pause.
   */
  const wait = (now: number): void => {
    let least = 0.1
    if (PENALTY_CODES.includes(detail.code!)) {
      least = 0.5
      failures = Math.max(failures, PENALTY_FAILURES)
    }
    // As if the attempt began when it may be repeated: so no wake shortens that.
    if (holdMs! > 0) startedAt = now += holdMs!
    // The pause comes on top: those who were told the same do not come back at the same moment.
    enter(WAITING, now, bound() * (least + (1 - least) * random()))
    failures++
    setStatus('reconnecting')
  }

  /** Final, unless the credentials are asked for anew at each attempt: then one more attempt. */
  const refused = (now: number): void => {
    if (isRenewable && ++refusals < 2) wait(now)
    else end('auth-required')
  }

  /** Whether a refusal of the server is final. */
  const learn = (refusal: Refusal | null | undefined, closeCode?: number): boolean => {
    const code = refusal?.code || closeCode
    holdMs = refusal?.holdMs
    if (refusal) detail = { ...detail, httpStatus: refusal.httpStatus, reason: refusal.reason }
    if (code === NOT_FOUND) effects.push(['missing', detail.reason!])
    return code === UNAUTHENTICATED || code === FORBIDDEN
  }

  const lost = (now: number, code: number, reason?: string, refusal?: Refusal | null): void => {
    const hadOpened = phase !== OPENING
    // A server that restarts refuses for a moment: no probe.
    const isFirst = wasOnline && failures <= 1
    // Later events of this attempt are stale.
    attempt++
    effects.push(['abandon'])
    detail = { code, reason }
    const isRefused = learn(refusal, code)
    if (code === FORBIDDEN) end('auth-required')
    else if (isRefused) refused(now)
    // A browser does not show a page why a WebSocket did not open, but answers a plain request of the same address; a class of the
    // application's may send headers that such a request would not.
    else if (hadOpened || refusal || isFirst || WebSocket) wait(now)
    else enter(PROBING, now, connectTimeoutMs, 'probe')
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

  const handlers: Handlers = {
    opened (now) { if (phase === OPENING) enter(GREETING, now, 2 * connectTimeoutMs) },
    heard,
    welcomed (now, liveness, windowMs = 0) {
      if (phase > GREETING) return
      phase = ONLINE
      wasOnline = true
      everyMs = liveness?.everyMs ?? Infinity
      timeoutMs = liveness?.timeoutMs ?? 0
      reconnectWindowMs = windowMs
      stableAt = now + STABLE_MS
      detail = {}
      setStatus('connected')
      heard(now)
    },
    lost,
    probed (now, refusal) {
      if (phase !== PROBING) return
      if (learn(refusal)) refused(now)
      else wait(now)
    },
    time (now) {
      if (now < deadline) return
      if (phase === WAITING) {
        startedAt = now
        enter(OPENING, now, connectTimeoutMs, 'open')
      } else if (phase === PROBING) wait(now)
      else if (phase === ONLINE) look(now)
      else lost(now, ABNORMAL, 'timeout')
    },
    wake (now) {
      if (phase === ONLINE && everyMs < Infinity && askedAt === null) {
        ask(now)
        watch()
      // What the server said of this client, with a code above, holds however well the network is.
      } else if (phase === WAITING && detail.code! <= ABNORMAL) deadline = Math.min(deadline, Math.max(now, startedAt + Math.min(LEAST_BETWEEN_MS, bound())))
    },
    close (_now, status, why) {
      effects.push(['abandon'])
      detail = why
      end(status)
    }
  }

  return {
    get status () { return status },
    get attempt () { return attempt },
    get deadline () { return deadline },
    on (now, ...[type, of, ...rest]: Event) {
      if (phase !== ENDED && (of === undefined || of === attempt)) (handlers[type] as (now: number, ...rest: unknown[]) => void)(now, ...rest)
      const done = effects
      effects = []
      return done
    }
  }
}
