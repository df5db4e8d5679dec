import { DAY_MS } from '@jpulse/plugin-kit'
import type { RedisLink } from '@jpulse/redis-link'
import type { Command } from './batch.ts'
import type { Keys } from './keys.ts'
import { dropMembers, listMembers, reportMember } from './scripts.ts'

/** How long the index, and the totals of an instance that nobody has added to the sum yet, outlive the last report of all. */
export const UNADDED_MS = 7 * DAY_MS

/** Boot id, and when it last reported by Redis' clock. */
export type Member = [bootId: string, at: number]

/** Who reported, and when: the index. Nobody is dropped from it before its counts are in the cluster's sum. */
export class Members {
  readonly #link: RedisLink
  readonly #keys: Keys

  constructor (link: RedisLink, keys: Keys) {
    this.#link = link
    this.#keys = keys
  }

  /** Says that a process reported `agoMs` ago; answers with the time. */
  reported (bootId: string, agoMs = 0): Command {
    return (_client, call) => call(reportMember, { keys: [this.#keys.index], args: [bootId, agoMs, UNADDED_MS] })
  }

  async list (withinMs = UNADDED_MS): Promise<{ now: number, members: Member[] }> {
    const [now, flat] = await this.#link.runScript(listMembers, { keys: [this.#keys.index], args: [withinMs] })
    const members: Member[] = []
    for (let i = 0; i + 1 < flat.length; i += 2) members.push([flat[i]!, Number(flat[i + 1])])
    return { now: Number(now), members }
  }

  /** Drops those of the given ones that have not reported for `olderMs`. */
  async drop (bootIds: string[], olderMs: number): Promise<void> {
    if (bootIds.length > 0) await this.#link.runScript(dropMembers, { keys: [this.#keys.index], args: [olderMs, ...bootIds] })
  }
}
