import type { Unsubscribe } from '@jpulse/redis-link'
import type { EpochLog } from '../log/epoch-log.ts'
import type { Frame, WireMessage } from './frame.ts'
import { isUnder } from './names.ts'
import type { ReplayRules } from './replay-rules.ts'

type Log = EpochLog<Frame, WireMessage>

interface OwnLog {
  readonly prefix: string
  readonly log: Log
  /** How many patterns of this process cover channels of the prefix. */
  listeners: number
  /** The subscription to its channel, while there are listeners. */
  hearing: Promise<Unsubscribe> | null
}

/** Destination of everything in a log of its own: each has one channel. */
const ALL = ''

/**
 * The logs of those channel prefixes that have one of their own. Only processes that listen below a prefix follow its log, so
 * the others get nothing of it. For each log the same holds as for the one that all share.
 */
export class OwnLogs {
  readonly #rules: ReplayRules
  readonly #all: readonly OwnLog[]

  /** @param open makes the log of a prefix */
  constructor (rules: ReplayRules, open: (prefix: string) => Log) {
    this.#rules = rules
    this.#all = rules.own.map((prefix) => ({ prefix, log: open(prefix), listeners: 0, hearing: null }))
  }

  /** The log of a channel; undefined where it is the one that all share. */
  of (channel: string): Log | undefined {
    if (this.#all.length === 0) return undefined
    const rule = this.#rules.of(channel)
    return rule.replay === 'own' ? this.#all.find(({ prefix }) => prefix === rule.prefix)?.log : undefined
  }

  /** Follows the logs that hold what a pattern covers. Resolves when they are heard, or cannot be now. Rejects where Redis refuses a channel. */
  async listen (pattern: string): Promise<() => Promise<void>> {
    const covered = this.#all.filter(({ prefix }) => covers(pattern, prefix))
    const begun = await Promise.allSettled(covered.map((one) => this.#begin(one)))
    const stop = async (): Promise<void> => { await Promise.all(covered.map((one) => this.#end(one))) }
    const refused = begun.find((one) => one.status === 'rejected')
    if (refused === undefined) return stop
    await stop()
    throw refused.reason
  }

  /** At each heartbeat: begins where that failed before, and finds a lost message that none follows. */
  check (): void {
    for (const own of this.#all) if (own.listeners > 0) this.#look(own)
  }

  /** Resolves when no message is in flight to Redis. */
  async idle (): Promise<void> {
    await Promise.all(this.#all.map(({ log }) => log.idle()))
  }

  close (): void {
    for (const { log } of this.#all) log.close()
  }

  async #begin (own: OwnLog): Promise<void> {
    own.listeners++
    own.hearing ??= own.log.listen(ALL)
    await own.hearing
    // Before it is subscribed to, what follows on the end could be missed.
    if (own.log.place === null) await this.#look(own)
  }

  async #end (own: OwnLog): Promise<void> {
    if (--own.listeners > 0) return
    const { hearing } = own
    own.hearing = null
    own.log.unfollow()
    await hearing?.then((unsubscribe) => unsubscribe(), () => {})
  }

  async #look (own: OwnLog): Promise<void> {
    const { log, hearing } = own
    const before = log.place?.seq ?? 0
    try {
      await hearing
      const { epoch, seq } = await log.read(null, 0, log.pace())
      // Meanwhile the last listener may have ended, and another one begun.
      if (own.hearing !== hearing) return
      if (log.place === null) log.follow({ epoch, seq })
      else log.note({ epoch, seq }, before)
    } catch {
      // Redis is away: the next heartbeat looks again.
    }
  }
}

/** Whether a name or pattern covers channels of a prefix: those of its name and below. */
function covers (pattern: string, prefix: string): boolean {
  if (!pattern.endsWith('*')) return isUnder(pattern, [prefix])
  const above = pattern.slice(0, -1)
  return prefix.startsWith(above) || isUnder(above.slice(0, -1), [prefix])
}
