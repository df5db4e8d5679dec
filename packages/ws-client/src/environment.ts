import { probe } from './address.ts'
import type { Refusal } from './machine.ts'
import type { ClientOptions } from './types.ts'

/** What a client takes from where it runs. */
export interface Environment {
  readonly WebSocket?: ClientOptions['WebSocket'] | undefined
  /** Never rejects. */
  probe (url: string, timeoutMs: number, token: string | null | undefined): Promise<Refusal | null>
  /** Milliseconds of a clock that never goes back. */
  now (): number
  random (): number
  setTimer (callback: () => void, ms: number): unknown
  clearTimer (handle: any): void
  /** Calls back when the network comes back or the page is seen again; returns what ends it. */
  onWake (wake: () => void): () => void
}

interface Target {
  addEventListener? (type: string, listener: () => void, options: { signal: AbortSignal }): void
}

const scope = globalThis as unknown as Target & { WebSocket?: ClientOptions['WebSocket'], document?: Target }

/** A page, a worker, or Node. */
export const environment: Environment = {
  WebSocket: scope.WebSocket,
  probe,
  now: () => performance.now(),
  random: Math.random,
  // More than 2^31 would be none at all; one that rings early is set again.
  setTimer: (callback, ms) => setTimeout(callback, Math.min(ms, 1e9)),
  clearTimer: (handle) => clearTimeout(handle),
  onWake (wake) {
    const listening = new AbortController()
    for (const target of [scope, scope.document]) {
      // `resume`: of a page that the browser had frozen.
      for (const type of ['online', 'pageshow', 'visibilitychange', 'resume']) target?.addEventListener?.(type, wake, listening)
    }
    return () => listening.abort()
  }
}
