import { newId, refOf, tagOf, type SessionRef } from '../stores/ids.ts'
import type { Lifetimes, SessionStore } from '../stores/store.ts'

/** One promise of the contract. */
export interface ConformanceCase {
  /** The promise as a sentence. */
  readonly name: string
  /** Which lifetimes the store must have. */
  readonly lifetimes: Lifetimes
  /** Rejects with an AssertionError where the store breaks the promise. */
  run (store: SessionStore): Promise<void>
}

export const LONG: Lifetimes = { idleTimeoutMs: 60_000, absoluteTimeoutMs: 600_000 }

let users = 0

/** A user nobody else has, and new sessions of that user. */
export function group (): { tag: string, ref: () => SessionRef } {
  const tag = tagOf(`${Date.now()}-${Math.random()}-${users++}`)
  return { tag, ref: () => refOf(newId(tag))! }
}

export const anonymous = () => refOf(newId())!

/** What the store's clock says, which need not be that of this machine. */
export const clockOf = (store: SessionStore): number => store.now?.() ?? Date.now()

const TRIALS = 10

/**
 * A trial of what has to come before a session times out. Where the machine stood still for so long that it did not, nothing
 * is promised: the trial tells so, and is repeated.
 *
 * @param trial false where it could not be judged
 */
export async function judge (trial: () => Promise<boolean>): Promise<void> {
  for (let index = 0; index < TRIALS; index++) if (await trial()) return
  process.emitWarning(`In each of ${TRIALS} trials this machine stood still for too long to tell when sessions end.`)
}

/** Tells whether so much time was over since this call, at the most. */
export function stopwatch (): (ms: number) => boolean {
  const from = performance.now()
  return (ms) => performance.now() - from >= ms
}

/** Collects cases. */
export function suite (): { cases: ConformanceCase[], promise: (name: string, run: ConformanceCase['run'], lifetimes?: Lifetimes) => void } {
  const cases: ConformanceCase[] = []
  return { cases, promise: (name, run, lifetimes = LONG) => { cases.push({ name, lifetimes, run }) } }
}
