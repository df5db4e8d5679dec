import type { Outages } from '../connection/outages.ts'

/** Pauses before each attempt: the command that took it may still be in flight. */
const AFTER_MS = [0, 1000, 5000]
const POLL_MS = 1000

/**
 * Gives back what a command may have taken whose answer was lost: when Redis answers, and more than once, because that command
 * may still be in flight.
 *
 * @param ttlMs after which it is free by itself
 * @param isClosed asked before each attempt: then it is left to its TTL
 * @param release a script that returns 1 where it gave it back
 */
export async function giveBack (outages: Outages, ttlMs: number, isClosed: () => boolean, release: () => Promise<number>): Promise<void> {
  const end = performance.now() + ttlMs
  for (const pause of AFTER_MS) {
    await new Promise((resolve) => setTimeout(resolve, Math.min(pause, Math.max(0, end - performance.now()))).unref())
    for (let given: number | undefined; given === undefined;) {
      if (isClosed() || performance.now() >= end) return
      given = await release().catch(() => undefined)
      if (given === 1) return
      if (given === undefined) await outages.changed(POLL_MS)
    }
  }
}
