import { DAY_MS } from '@jpulse/plugin-kit'
import type { Batch, Command } from './batch.ts'
import type { Keys } from './keys.ts'

/** How long the index, and the totals of an instance that nobody has added to the sum yet, outlive the last report of all. */
export const UNADDED_MS = 7 * DAY_MS

/** Boot id, and when it last reported by Redis' clock. */
export type Member = [bootId: string, at: number]

/** Who reported, and when: the index. Nobody is dropped from it before its counts are in the cluster's sum. */
export class Members {
  readonly #batch: Batch
  readonly #keys: Keys
  #offsetMs = 0

  constructor (batch: Batch, keys: Keys) {
    this.#batch = batch
    this.#keys = keys
  }

  /** Redis' time in milliseconds, as far as it is known. */
  now (): number {
    return Date.now() + this.#offsetMs
  }

  learn (redisNow: number): void {
    this.#offsetMs = redisNow - Date.now()
  }

  /** Says that a process reported `agoMs` ago; answers with the time. */
  reported (bootId: string, agoMs = 0): Command {
    return (client) => client.clusterMetricsReportV2(this.#keys.index, bootId, agoMs, UNADDED_MS)
  }

  async list (withinMs = UNADDED_MS): Promise<{ now: number, members: Member[] }> {
    const [now, flat] = await this.#batch.run((client) => client.clusterMetricsListV1(this.#keys.index, withinMs))
    const members: Member[] = []
    for (let i = 0; i + 1 < flat.length; i += 2) members.push([flat[i]!, Number(flat[i + 1])])
    this.learn(Number(now))
    return { now: Number(now), members }
  }

  /** Drops those of the given ones that have not reported for `olderMs`. */
  async drop (bootIds: string[], olderMs: number): Promise<void> {
    if (bootIds.length > 0) await this.#batch.run((client) => client.clusterMetricsDropV1(this.#keys.index, olderMs, ...bootIds))
  }
}
