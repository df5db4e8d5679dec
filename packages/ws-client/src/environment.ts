import { probe } from './address.ts'
import type { Refusal } from './machine.ts'
import type { ClientOptions } from './types.ts'

/** What a client takes from where it runs. */
export interface Environment {
  readonly WebSocket?: ClientOptions['WebSocket']
  readonly canFetch: boolean
  /** Never rejects. */
  probe (url: URL, timeoutMs: number): Promise<Refusal | null>
  /** Milliseconds of a clock that never goes back. */
  now (): number
  random (): number
  setTimer (callback: () => void, ms: number): unknown
  clearTimer (handle: any): void
  /** Calls back when the network comes back or the page is seen again; returns what ends it. */
  onWake (wake: () => void): () => void
}

interface Target {
  addEventListener (type: string, listener: () => void): void
  removeEventListener (type: string, listener: () => void): void
}

const scope = globalThis as unknown as Partial<Target> & { WebSocket?: ClientOptions['WebSocket'], document?: Target & { visibilityState: string } }

/** A page, a worker, or Node. */
export const environment: Environment = {
  ...(scope.WebSocket !== undefined && { WebSocket: scope.WebSocket }),
  canFetch: typeof fetch === 'function',
  probe,
  now: () => performance.now(),
  random: () => Math.random(),
  setTimer: (callback, ms) => setTimeout(callback, ms),
  clearTimer: (handle) => clearTimeout(handle),
  onWake (wake) {
    if (typeof scope.addEventListener !== 'function') return () => {}
    const { document } = scope
    const seen = (): void => { if (document!.visibilityState === 'visible') wake() }
    scope.addEventListener('online', wake)
    scope.addEventListener('pageshow', wake)
    document?.addEventListener('visibilitychange', seen)
    return () => {
      scope.removeEventListener!('online', wake)
      scope.removeEventListener!('pageshow', wake)
      document?.removeEventListener('visibilitychange', seen)
    }
  }
}
