import type { EventEmitter } from 'node:events'

/** Gets what a function of the application threw, or what its promise rejected with. */
export type OnFault = (err: unknown) => void

/**
 * Calls a function of the application and waits for nothing. Neither a throw nor a rejection reaches the caller; one that never
 * settles holds nobody up. `onFault` logs it, and is expected not to throw.
 */
export function callSafely<A extends unknown[]> (onFault: OnFault, callback: ((...args: A) => unknown) | undefined, ...args: A): void {
  if (callback === undefined) return
  try {
    const returned = callback(...args)
    // Both callbacks, because a reply of Fastify is a thenable that calls the first unasked.
    if (isThenable(returned)) returned.then(() => {}, onFault)
  } catch (err) {
    onFault(err)
  }
}

/**
 * Tells the listeners of an event, each by itself: the fault of one keeps the event from no other, nor from whoever tells it.
 * Returns whether there was one. Unlike `emit` it does not treat the event `error` differently.
 */
export function emitSafely (emitter: EventEmitter, onFault: OnFault, event: string | symbol, ...args: unknown[]): boolean {
  // Raw, because what `once` added takes itself away only when it is called through its wrapper.
  const listeners = emitter.rawListeners(event)
  for (const listener of listeners) callSafely(onFault, (...given: unknown[]) => listener.apply(emitter, given) as unknown, ...args)
  return listeners.length > 0
}

/** Events that every emitter has. */
const COMMON: ReadonlySet<string> = new Set(['error', 'newListener', 'removeListener'])

/**
 * Refuses listeners of events that an emitter does not have: of such an event nobody would ever hear. Symbols are let through, which
 * tools of Node use.
 *
 * @param events all that there are; the type sees to it that none is forgotten
 * @param refuse makes the error that `on` and its like throw, from what the event must be
 */
export function acceptOnly<Events extends Record<keyof Events, unknown[]>> (emitter: EventEmitter<Events>, events: Readonly<Record<keyof Events & string, true>>, refuse: (wanted: string) => Error): void {
  const names = Object.keys(events)
  const wanted = names.length === 1 ? names[0]! : `one of ${names.join(', ')}`
  ;(emitter as unknown as EventEmitter).on('newListener', (event: string | symbol) => {
    if (typeof event === 'string' && !names.includes(event) && !COMMON.has(event)) throw refuse(wanted)
  })
}

/** A timer that fires later than this was held up by this process itself. */
export const BUSY_MS = 20
/** Longest delay of a timer of Node; a longer one would fire at once. */
export const LONGEST_MS = 2 ** 31 - 1

/**
 * Calls `expire` after `ms`, at the latest after 24 days, unless stopped. Where this process was busy when the time was over, what it
 * waits for may lie unread in a socket, because timers come before sockets: then once more as long as it was late, at most `ms`.
 *
 * @returns what stops it
 */
export function deadline (ms: number, expire: () => void): () => void {
  const delay = Math.min(ms, LONGEST_MS)
  let due = performance.now() + delay
  let timer = setTimeout(fire, delay)
  let extended = false
  function fire (): void {
    const late = performance.now() - due
    if (extended || late <= BUSY_MS) return expire()
    extended = true
    due += late
    timer = setTimeout(fire, Math.min(delay, late))
  }
  return () => clearTimeout(timer)
}

/**
 * What a promise resolves with, or `late()` as rejection where it takes longer than `ms`, by `deadline`. What it does later is heard
 * by nobody, and its rejection ends no process.
 */
export async function within<T> (ms: number, promise: PromiseLike<T>, late: () => Error): Promise<T> {
  let stop = () => {}
  const time = new Promise<never>((_resolve, reject) => {
    stop = deadline(ms, () => reject(late()))
  })
  promise.then(() => {}, () => {})
  try {
    return await Promise.race([promise, time])
  } finally {
    stop()
  }
}

/**
 * Calls a function of the application and waits for it, at most `ms`. Rejects with what it threw or rejected with, or with `late()`.
 */
export async function callWithin<T> (ms: number, call: () => T | PromiseLike<T>, late: () => Error): Promise<T> {
  const returned = call()
  return isThenable(returned) ? within(ms, returned as PromiseLike<T>, late) : returned as T
}

/** What anything reads as. An application may throw what has no text, and such a fault must not become one of ours. */
export function textOf (value: unknown): string {
  try {
    return String(value)
  } catch {
    return 'no text'
  }
}

/** Whether something can be waited for. */
export function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function'
}
