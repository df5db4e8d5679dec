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
  | { readonly type: 'located' | 'opened' | 'heard', readonly attempt: number }
  | { readonly type: 'welcomed', readonly attempt: number, readonly liveness: Liveness | null, readonly windowMs: number }
  /** The socket said close or error, or could not be made; or there was no address. */
  | { readonly type: 'lost', readonly attempt: number, readonly code: number, readonly reason: string, readonly refusal?: Refusal }
  | { readonly type: 'probed', readonly attempt: number, readonly refusal: Refusal | null }
  /** The deadline passed. */
  | { readonly type: 'time' }
  /** The network came back, or the page is seen again. */
  | { readonly type: 'wake' }
  | { readonly type: 'close' }

/** What is to be done. `abandon` lets go of the socket, `ask` wants to hear from the server. */
export type Effect =
  | { readonly type: 'locate' | 'open' | 'probe' | 'abandon' | 'ask' }
  | { readonly type: 'status' | 'end', readonly status: Status, readonly detail: StatusDetail }

export interface MachineOptions {
  readonly connectTimeoutMs: number
  readonly minDelayMs: number
  readonly maxDelayMs: number
  /** Whether the address is asked anew at each attempt, so that who was refused may be let in the next time. */
  readonly isRenewable: boolean
  /** Whether it can be found out why a WebSocket did not open. */
  readonly canProbe: boolean
  /** From 0 to 1. */
  random (): number
}

type Phase = 'locating' | 'opening' | 'greeting' | 'online' | 'probing' | 'waiting' | 'ended'

/** A connection that held so long was a good one: only then are the failures before it forgotten. */
const STABLE_MS = 10_000
/** Closed for what the client did: coming back soon would do it again. */
const PENAL: ReadonlySet<number> = new Set([1009, 1013, 4429])
const PENAL_FAILURES = 3
const UNAUTHENTICATED = 4401
const FORBIDDEN = 4403
const ABNORMAL = 1006
/** Network and page may wake as often as they like: attempts are not closer than this. */
const LEAST_BETWEEN_MS = 1000

/**
 * Decides what a client does: all of its states, each with a deadline, and no clock, socket or timer of its own. Whatever
 * happens in whatever order, it comes back where a server is, and not more often than its pauses say.
 */
export class Machine {
  readonly #options: MachineOptions
  #phase: Phase = 'waiting'
  #status: Status = 'connecting'
  #attempt = 0
  #deadline: number | null = null
  #startedAt = -Infinity
  /** Attempts that failed since a connection was stable. */
  #failures = 0
  #refusals = 0
  #wasOnline = false
  #detail: StatusDetail = {}
  #liveness: Liveness | null = null
  #windowMs = 0
  #stableAt = 0
  #heardAt = 0
  /** When the server was asked whether it is there; null where it was heard since. */
  #askedAt: number | null = null
  /** Whether it was asked once more because the clock stood still. */
  #isLenient = false
  /** HTTP status that was told last. */
  #told: number | undefined
  #effects: Effect[] = []

  constructor (options: MachineOptions) {
    this.#options = options
  }

  get status (): Status {
    return this.#status
  }

  /** Names what belongs together: address, socket and look of one attempt. */
  get attempt (): number {
    return this.#attempt
  }

  /** When `time` is due; null where nothing is. */
  get deadline (): number | null {
    return this.#deadline
  }

  start (now: number): Effect[] {
    this.#begin(now)
    return this.#take()
  }

  on (event: Event, now: number): Effect[] {
    if (this.#phase === 'ended' || ('attempt' in event && event.attempt !== this.#attempt)) return []
    switch (event.type) {
      case 'located': if (this.#phase === 'locating') this.#enter('opening', now, this.#options.connectTimeoutMs, 'open'); break
      case 'opened': if (this.#phase === 'opening') this.#enter('greeting', now, 2 * this.#options.connectTimeoutMs); break
      case 'welcomed': if (this.#phase === 'opening' || this.#phase === 'greeting') this.#welcome(now, event.liveness, event.windowMs); break
      case 'heard': if (this.#phase === 'online') this.#heard(now); break
      case 'lost': if (this.#phase !== 'waiting' && this.#phase !== 'probing') this.#lost(now, event, event.refusal ?? null); break
      case 'probed': if (this.#phase === 'probing') this.#probed(now, event.refusal); break
      case 'time': if (this.#deadline !== null && now >= this.#deadline) this.#due(now); break
      case 'wake': this.#wake(now); break
      case 'close': this.#end('disconnected', { code: 1000, reason: 'closed by the client' })
    }
    return this.#take()
  }

  #take (): Effect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  #enter (phase: Phase, now: number, withinMs: number, effect?: 'locate' | 'open' | 'probe'): void {
    this.#phase = phase
    this.#deadline = now + withinMs
    if (effect !== undefined) this.#effects.push({ type: effect })
  }

  #begin (now: number): void {
    this.#attempt++
    this.#startedAt = now
    this.#enter('locating', now, this.#options.connectTimeoutMs, 'locate')
  }

  #welcome (now: number, liveness: Liveness | null, windowMs: number): void {
    this.#phase = 'online'
    this.#wasOnline = true
    this.#liveness = liveness
    this.#windowMs = windowMs
    this.#stableAt = now + STABLE_MS
    this.#turn('connected', {})
    this.#heard(now)
  }

  #heard (now: number): void {
    this.#heardAt = now
    this.#askedAt = null
    this.#isLenient = false
    this.#watch()
  }

  /** The next look at a connection that stands. */
  #watch (): void {
    const { everyMs = Infinity, timeoutMs = 0 } = this.#liveness ?? {}
    const silent = this.#askedAt === null ? this.#heardAt + everyMs : this.#askedAt + timeoutMs
    const next = Math.min(silent, this.#stableAt)
    this.#deadline = next === Infinity ? null : next
  }

  #due (now: number): void {
    switch (this.#phase) {
      case 'locating': return this.#lost(now, { code: ABNORMAL, reason: 'the address was not there in time' }, null)
      case 'opening': case 'greeting': return this.#lost(now, { code: ABNORMAL, reason: 'the connection was not there in time' }, null)
      case 'probing': return this.#probed(now, null)
      case 'waiting': return this.#begin(now)
      case 'online': return this.#look(now)
    }
  }

  #look (now: number): void {
    if (now >= this.#stableAt) {
      this.#stableAt = Infinity
      this.#failures = this.#refusals = 0
    }
    const { everyMs, timeoutMs } = this.#liveness ?? { everyMs: Infinity, timeoutMs: Infinity }
    if (this.#askedAt === null) {
      if (now >= this.#heardAt + everyMs) this.#ask(now)
    } else if (now >= this.#askedAt + timeoutMs) {
      // A clock that stood still: what came meanwhile is not read yet, and nobody answered a question that did not leave.
      if (this.#isLenient || now < this.#askedAt + 1.5 * timeoutMs) return this.#lost(now, { code: ABNORMAL, reason: 'the server was not heard any more' }, null)
      this.#isLenient = true
      this.#ask(now)
    }
    this.#watch()
  }

  #ask (now: number): void {
    this.#askedAt = now
    this.#effects.push({ type: 'ask' })
  }

  #wake (now: number): void {
    if (this.#phase === 'online' && this.#liveness !== null && this.#askedAt === null) {
      this.#ask(now)
      this.#watch()
    } else if (this.#phase === 'waiting') {
      this.#deadline = Math.min(this.#deadline!, Math.max(now, this.#startedAt + Math.min(LEAST_BETWEEN_MS, this.#bound)))
    }
  }

  #lost (now: number, { code, reason }: { code: number, reason: string }, refusal: Refusal | null): void {
    const hadOpened = this.#phase === 'greeting' || this.#phase === 'online'
    // A server that restarts refuses for a moment: no need to ask why.
    const isFirst = this.#wasOnline && this.#failures <= 1
    this.#effects.push({ type: 'abandon' })
    this.#detail = { code, reason, ...(refusal !== null && { httpStatus: refusal.httpStatus, reason: refusal.reason }) }
    if (refusal?.isFinal === true || code === UNAUTHENTICATED) return this.#refused(now)
    if (code === FORBIDDEN) return this.#end('auth-required', this.#detail)
    if (hadOpened || refusal !== null || isFirst || !this.#options.canProbe || this.#phase === 'locating') return this.#wait(now)
    // A browser does not show a page why a WebSocket did not open, but answers a plain request of the same address.
    this.#enter('probing', now, this.#options.connectTimeoutMs, 'probe')
  }

  #probed (now: number, refusal: Refusal | null): void {
    if (refusal !== null) this.#detail = { ...this.#detail, httpStatus: refusal.httpStatus, reason: refusal.reason }
    if (refusal?.isFinal === true) this.#refused(now)
    else this.#wait(now)
  }

  /** Who was refused is refused again, unless credentials are made anew. */
  #refused (now: number): void {
    if (this.#options.isRenewable && ++this.#refusals < 2) this.#wait(now)
    else this.#end('auth-required', this.#detail)
  }

  /**
   * Exponential backoff with nearly full jitter, so that the clients of a server that went away do not come back all at once
   * (Marc Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015), and no one at once.
   */
  #wait (now: number): void {
    const isPenal = PENAL.has(this.#detail.code ?? 0)
    if (isPenal) this.#failures = Math.max(this.#failures, PENAL_FAILURES)
    const share = this.#options.random()
    this.#enter('waiting', now, this.#bound * (isPenal ? (1 + share) / 2 : (1 + 9 * share) / 10))
    this.#failures++
    this.#turn('reconnecting', this.#detail)
  }

  get #bound (): number {
    const { minDelayMs, maxDelayMs } = this.#options
    return Math.min(maxDelayMs, Math.max(this.#windowMs, minDelayMs * 2 ** this.#failures))
  }

  #end (status: 'disconnected' | 'auth-required', detail: StatusDetail): void {
    if (status === 'disconnected') this.#effects.push({ type: 'abandon' })
    this.#phase = 'ended'
    this.#deadline = null
    this.#turn(status, detail)
    this.#effects.push({ type: 'end', status, detail })
  }

  #turn (status: Status, detail: StatusDetail): void {
    const isNews = detail.httpStatus !== undefined && detail.httpStatus !== this.#told
    if (status === this.#status && !isNews) return
    this.#status = status
    this.#told = detail.httpStatus
    this.#effects.push({ type: 'status', status, detail })
  }
}
