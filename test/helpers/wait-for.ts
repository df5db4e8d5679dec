import { setTimeout as sleep } from 'node:timers/promises'

export interface WaitOptions {
  /** Longest wait in milliseconds. @default 10000 */
  timeoutMs?: number
  /** Pause between two looks in milliseconds. @default 10 */
  everyMs?: number
  /** What is waited for, named in the error. @default the source of the condition */
  what?: string
}

/**
 * Waits until a condition holds and returns what it returned: the first value that is neither undefined, null nor
 * false. A condition that throws does not hold yet; its last error is the cause of the timeout.
 */
export async function waitFor<T> (condition: () => T | Promise<T>, options: WaitOptions = {}): Promise<Exclude<T, false | null | undefined>> {
  const { timeoutMs = 10_000, everyMs = 10, what = condition.toString() } = options
  const deadline = performance.now() + timeoutMs
  let cause: unknown
  do {
    try {
      const value = await condition()
      if (value !== undefined && value !== null && value !== false) return value as Exclude<T, false | null | undefined>
      cause = undefined
    } catch (err) {
      cause = err
    }
    await sleep(everyMs)
  } while (performance.now() < deadline)
  throw new Error(`waited ${timeoutMs} ms in vain for ${what}`, { cause })
}
