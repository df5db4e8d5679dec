import { checkCall } from '@jpulse/plugin-kit'
import { checkCount, checkMs, invalid } from '../check.ts'
import { FST_ERR_REDIS_LINK_INVALID_ARGUMENT, FST_ERR_REDIS_LINK_INVALID_NUMBER, FST_ERR_REDIS_LINK_LOCK_HELD, FST_ERR_REDIS_LINK_LOCK_LOST } from '../errors.ts'
import type { HeldLock, Locks } from './locks.ts'

export interface UsingOptions {
  /** How long the lock outlives its holder's last sign, in milliseconds, at least 3. It is extended three times as often. @default 10000 */
  ttlMs?: number
  /** How long to wait for a lock that somebody holds, in milliseconds; 0 tries once. @default as `ttlMs`, when that of a dead holder has ended */
  waitMs?: number
  /** Ends the waiting, and is handed on: the signal of `fn` aborts with it. @default none */
  signal?: AbortSignal | undefined
}

/**
 * Works under a lock.
 *
 * @param signal aborts when the lock is lost, and when that of the caller does
 * @param token fencing token of the lock
 */
export type UsingWork<T> = (signal: AbortSignal, token: number) => T | Promise<T>

/** Pause between two tries, the upper half of it random. */
const RETRY_MS = 100
/** A timer of Node that is longer fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * Runs a function under a lock that is extended until it is over. Where it is lost, because Redis lost it, cannot be reached,
 * or this process stood still, the signal aborts by this process' own clock before somebody else can have the lock; what the
 * function goes on to do is not protected, and what it returns is not handed on.
 *
 * @param link `closed` aborts when it closes: then nobody waits any longer, and who works under a lock is told that it is lost, since
 *   nobody extends it any more. Who ends at that gives it back, as long as the link can; and why Redis cannot be used, null where it can
 */
export async function using<T> (locks: Locks, name: string, options: UsingOptions, work: UsingWork<T>, link: { readonly closed: AbortSignal, unavailable (): Error | null }): Promise<T> {
  checkCall(options, ['ttlMs', 'waitMs', 'signal'], invalid)
  const { ttlMs = 10_000, waitMs = ttlMs, signal } = options
  checkMs('ttlMs', ttlMs)
  if (ttlMs < 3) throw new FST_ERR_REDIS_LINK_INVALID_NUMBER('ttlMs', 'at least 3 milliseconds')
  checkCount('waitMs', waitMs, Number.MAX_SAFE_INTEGER, 0)
  // Before the lock is taken, which would keep everybody else waiting for nothing.
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw invalid('signal', 'must be an AbortSignal')
  if (typeof work !== 'function') throw new FST_ERR_REDIS_LINK_INVALID_ARGUMENT('What runs under a lock', 'a function')
  const end = performance.now() + waitMs
  const lock = await waitFor(locks, name, ttlMs, end, signal, link.closed)
  if (lock instanceof Error) throw lock
  if (lock === null) throw link.unavailable() ?? new FST_ERR_REDIS_LINK_LOCK_HELD(name)
  const held = new Holding(name, lock, ttlMs, link.closed)
  try {
    if (held.isLost()) {
      // The link closed while it was taken.
      await lock.release()
      throw link.unavailable() ?? held.signal.reason
    }
    const result = await work(signal === undefined ? held.signal : AbortSignal.any([held.signal, signal]), lock.token)
    if (held.isLost()) throw held.signal.reason
    return result
  } finally {
    await held.end()
  }
}

/** The lock; why the last try could not be made, or null where somebody else held it or that cannot be told. @throws the reason of the signal */
async function waitFor (locks: Locks, name: string, ttlMs: number, end: number, signal: AbortSignal | undefined, closed: AbortSignal): Promise<HeldLock | Error | null> {
  for (;;) {
    signal?.throwIfAborted()
    let refusal: Error | null = null
    const lock = await locks.tryLock(name, ttlMs, (err) => { refusal = err })
    if (lock !== null && signal?.aborted === true) await lock.release()
    else if (lock !== null) return lock
    const left = end - performance.now()
    if (left <= 0) return refusal
    await pause(Math.min(left, RETRY_MS * (1 + Math.random()) / 2), signal, closed)
    if (closed.aborted) return refusal
  }
}

/** Ends when one of the signals aborts, too. */
function pause (ms: number, ...signals: Array<AbortSignal | undefined>): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer)
      for (const signal of signals) signal?.removeEventListener('abort', over)
      resolve()
    }
    const timer = setTimeout(over, ms)
    if (signals.some((signal) => signal?.aborted)) return over()
    for (const signal of signals) signal?.addEventListener('abort', over)
  })
}

/** Keeps a lock, and says when it is lost. */
class Holding {
  readonly #name: string
  readonly #lock: HeldLock
  readonly #ttlMs: number
  readonly #closed: AbortSignal
  readonly #abort = new AbortController()
  #next: NodeJS.Timeout | undefined
  #end: NodeJS.Timeout | undefined
  #over = false

  constructor (name: string, lock: HeldLock, ttlMs: number, closed: AbortSignal) {
    this.#name = name
    this.#lock = lock
    this.#ttlMs = ttlMs
    this.#closed = closed
    this.#watch()
    this.#later(ttlMs / 3)
    if (closed.aborted) this.#lose()
    else closed.addEventListener('abort', this.#lose)
  }

  get signal (): AbortSignal {
    return this.#abort.signal
  }

  /** Asked at the time of use: a timer may be late. */
  isLost (): boolean {
    if (performance.now() >= this.#lock.until) this.#lose()
    return this.signal.aborted
  }

  async end (): Promise<void> {
    this.#over = true
    this.#stop()
    if (!this.signal.aborted || this.#closed.aborted) await this.#lock.release()
  }

  #later (ms: number): void {
    this.#next = setTimeout(() => { this.#extend() }, Math.min(ms, LONGEST_TIMER_MS))
  }

  async #extend (): Promise<void> {
    const extended = await this.#lock.prolong()
    if (this.#over || this.isLost()) return
    if (extended === false) return this.#lose()
    this.#watch()
    // What is not known is asked again, until the lock's time is over.
    this.#later(extended === true ? this.#ttlMs / 3 : Math.min(RETRY_MS, this.#ttlMs / 3))
  }

  #watch (): void {
    clearTimeout(this.#end)
    this.#end = setTimeout(() => { if (!this.isLost()) this.#watch() }, Math.max(1, Math.min(this.#lock.until - performance.now(), LONGEST_TIMER_MS)))
  }

  readonly #lose = (): void => {
    if (!this.#over) this.#abort.abort(new FST_ERR_REDIS_LINK_LOCK_LOST(this.#name))
    this.#stop()
  }

  #stop (): void {
    clearTimeout(this.#next)
    clearTimeout(this.#end)
    this.#closed.removeEventListener('abort', this.#lose)
  }
}
