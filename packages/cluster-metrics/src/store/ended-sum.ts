import { isLost, parse, readEnded, readTotals, withEnded, withoutEnded, type Ended, type Totals } from '../formats/index.ts'
import type { RedisLink } from '@jpulse/redis-link'
import { getMany, runMany } from './batch.ts'
import type { Keys } from './keys.ts'
import { UNADDED_MS, type Member, type Members } from './members.ts'
import { replaceVersioned } from './scripts.ts'

/** Instances whose counts are added in one go. */
const MOST_AT_ONCE = 200
const ATTEMPTS = 5

/**
 * The sum of what instances counted that ended, so that no counter of the cluster falls when their own keys expire.
 *
 * The sum and the ids of whose counts are in it are one value, replaced only where it is still the one that was read: an
 * instance is added once, whoever does it, and a reader counts it either here or by its own key. Its key and its place in
 * the index stay for `keepMs`, for readers that know nothing of the sum.
 */
export class EndedSum {
  readonly #link: RedisLink
  readonly #keys: Keys
  readonly #members: Members
  readonly #ttlMs: number
  readonly #keepMs: number
  readonly #onFolded: (series: number) => void
  #known: { text: string | null, ended: Ended | null } = { text: null, ended: readEnded(null) }

  /** @param onFolded gets the number of series of one instance that had no place of their own, and are counted as `__other__`, where it grows */
  constructor (link: RedisLink, keys: Keys, members: Members, { ttlMs, keepMs }: { ttlMs: number, keepMs: number }, onFolded: (series: number) => void) {
    this.#link = link
    this.#keys = keys
    this.#members = members
    this.#ttlMs = ttlMs
    this.#keepMs = keepMs
    this.#onFolded = onFolded
  }

  /** Null where it cannot be read. A text is parsed once: it changes when an instance ends. */
  async read (): Promise<Ended | null> {
    const text = await this.#link.run((client) => client.get(this.#keys.ended))
    if (text !== this.#known.text) this.#known = { text, ended: readEnded(text) }
    return this.#known.ended
  }

  /** Adds those that have been silent for twice `ttlMs`, and drops from the index whom nobody needs there any more. */
  async addEnded (): Promise<void> {
    const ended = await this.read()
    if (ended === null) return
    const { now, members } = await this.#members.list()
    const silent = members.filter(([, at]) => now - at >= 2 * this.#ttlMs)
    const fresh = silent.filter(([bootId]) => !ended.boots.has(bootId)).slice(0, MOST_AT_ONCE).map(([bootId]) => bootId)
    if (fresh.length > 0) await this.#add(ended, fresh, members, now)
    else await this.#link.run((client) => client.pexpire(this.#keys.ended, UNADDED_MS))
    // Whose counts were in the sum before this turn: a reader may have read the sum then, and the index only now.
    await this.#members.drop(silent.filter(([bootId, at]) => ended.boots.has(bootId) && now - at >= this.#keepMs).map(([bootId]) => bootId), this.#keepMs)
  }

  async #add (ended: Ended, bootIds: string[], members: readonly Member[], now: number): Promise<void> {
    const texts = await getMany(this.#link, bootIds.map((bootId) => this.#keys.totals(bootId)))
    const parts = bootIds.map((bootId, index) => ({ bootId, text: texts[index]!, totals: texts[index] === null ? null : readTotals(texts[index]!) }))
    // What a newer release wrote is for that one to add.
    const readable = parts.filter(({ text, totals }) => text === null || totals !== null)
    if (readable.length === 0) return
    const silent = readable.flatMap(({ totals }) => totals !== null && isLost(totals) ? [totals.instanceId] : [])
    const lost = silent.length === 0 ? 0 : await this.#countMissed(silent, members.filter(([, at]) => now - at < this.#ttlMs))
    const text = withEnded(ended, readable.map(({ bootId, totals }) => [bootId, totals]), new Set(members.map(([bootId]) => bootId)), lost)
    if (!await this.#replace(ended.version, text)) return
    const folded = readEnded(text)?.folded ?? 0
    if (folded > ended.folded) this.#onFolded(folded)
    await runMany(this.#link, readable.map(({ bootId }) => (client) => client.pexpire(this.#keys.totals(bootId), this.#keepMs)))
  }

  /** Those in whose place there is no other one of their id. */
  async #countMissed (instanceIds: string[], living: readonly Member[]): Promise<number> {
    const reports = await getMany(this.#link, living.map(([bootId]) => this.#keys.instance(bootId)))
    const present = new Set(reports.map((text) => (parse(text ?? '') as { instanceId?: unknown } | null)?.instanceId))
    return instanceIds.filter((instanceId) => !present.has(instanceId)).length
  }

  /**
   * Takes the counts of a process back out that was silent for so long that it was taken for dead: they are counted by its
   * own key again, which it has just written. One that wakes in the very moment in which it is added does it with its next report.
   *
   * @param written what it wrote, by the number of the write
   */
  async takeBack (bootId: string, written: (seq: number) => Totals | undefined): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const ended = await this.read()
      const seq = ended?.boots.get(bootId)
      const totals = seq === undefined ? undefined : written(seq)
      if (ended === null || totals === undefined || await this.#replace(ended.version, withoutEnded(ended, bootId, totals))) return
    }
  }

  async #replace (version: string, text: string): Promise<boolean> {
    return await this.#link.runScript(replaceVersioned, { keys: [this.#keys.ended], args: [version, text, UNADDED_MS] }) === 1
  }
}
