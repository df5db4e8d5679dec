import { randomUUID } from 'node:crypto'
import { checkKey, checkMs } from '../check.ts'
import type { Outages } from '../connection/outages.ts'
import { isOutage, isReply } from '../connection/refusals.ts'
import type { CallScript, Run } from '../script/script.ts'
import { extend, release, take } from '../script/scripts.ts'
import { giveBack } from './give-back.ts'
import type { HeldLock, Locks } from './locks.ts'

/** What locks in Redis need of their link. */
export interface LockLink {
  readonly run: Run
  readonly outages: Outages
  /** How long a command whose answer was lost is repeated before the outcome counts as unknown. */
  readonly retryMs: number
  readonly isClosed: () => boolean
  /** The link gives no lock any more, and its connection is open for a while. */
  readonly isClosing: () => boolean
  /** A key of the site. */
  readonly keyOf: (...parts: string[]) => string
  readonly isCluster: boolean
}

type Command<T> = (call: CallScript) => Promise<T>

/** What became of a command: its answer, or that it was certainly not carried out, or may have been. */
type Settled<T> = { readonly answer: T } | 'undone' | 'unknown'

/**
 * A lock is a key with its holder, which expires by itself (Redis documentation, "Distributed locks", single instance), and
 * beside it the last token (M. Kleppmann, How to do distributed locking, 2016).
 *
 * A command whose answer is lost may have been carried out. It is repeated for a moment: the stored holder tells whether it was.
 * Then the caller gets null, and the lock is given back when Redis answers, or nobody could take it until it expires.
 */
export class RedisLocks implements Locks {
  readonly #link: LockLink

  constructor (link: LockLink) {
    this.#link = link
  }

  async tryLock (name: string, ttlMs: number, onRefused?: (err: Error) => void): Promise<HeldLock | null> {
    checkKey('The name of a lock', name)
    checkMs('ttlMs', ttlMs)
    const key = this.#link.keyOf('lock', name)
    const fence = fenceOf(key, name, this.#link)
    const holder = randomUUID()
    let askedAt = 0
    const taken = await this.#settle(ttlMs, (call) => {
      askedAt = performance.now()
      return call(take, { keys: fence === null ? [key] : [key, fence], args: [holder, ttlMs] })
    }, ([isOurs]) => isOurs === 1, onRefused)
    if (this.#link.isClosing()) {
      // The one attempt for which there is time.
      if (taken !== 'undone') await this.#release(key, holder).catch(() => {})
      return null
    }
    if (taken === 'unknown') this.#giveBack(key, holder, ttlMs).catch(() => {})
    if (typeof taken === 'string' || taken.answer[0] !== 1) return null
    return this.#held(key, holder, Number(taken.answer[1]), ttlMs, askedAt + ttlMs)
  }

  #held (key: string, holder: string, token: number, ttlMs: number, until: number): HeldLock {
    const isTrue = (answer: number): boolean => answer === 1
    // A refusal, of a permission that was taken away say, is as good as not known here.
    const settle = (goodForMs: number, command: Command<number>): Promise<Settled<number>> => this.#settle(goodForMs, command, isTrue).catch(() => 'unknown' as const)
    const prolong = async (ms: number): Promise<boolean | 'unknown'> => {
      checkMs('ttlMs', ms)
      let askedAt = 0
      const settled = await settle(ms, (call) => {
        askedAt = performance.now()
        return call(extend, { keys: [key], args: [holder, ms] })
      })
      if (typeof settled === 'string') return 'unknown'
      if (settled.answer !== 1) return false
      until = askedAt + ms
      return true
    }
    return {
      token,
      get until () { return until },
      prolong: () => prolong(ttlMs),
      extend: async (ms = ttlMs) => await prolong(ms) === true,
      release: async () => {
        const given = await settle(Infinity, (call) => call(release, { keys: [key], args: [holder] }))
        if (typeof given !== 'string') return given.answer === 1
        this.#giveBack(key, holder, until - performance.now()).catch(() => {})
        return false
      }
    }
  }

  /**
   * Runs a command, and where its answer is lost asks again until Redis answers or `retryMs` is over.
   *
   * @param goodForMs how long a yes holds, from before it was asked for. One that is read later, because the process stood
   *   still or Redis was slow, is unknown: somebody else may hold the lock by now
   * @throws what Redis refuses the command with, where that is no outage
   */
  async #settle<T> (goodForMs: number, command: Command<T>, isYes: (answer: T) => boolean, onUndone?: (err: Error) => void): Promise<Settled<T>> {
    let sent = false
    const ask = async (): Promise<Settled<T> | Error> => {
      const askedAt = performance.now()
      const answer = await this.#link.run((_client, call) => {
        sent = true
        return command(call)
      }).catch(asError)
      if (answer instanceof Error) return answer
      return isYes(answer) && performance.now() - askedAt >= goodForMs ? 'unknown' : { answer }
    }
    const first = await ask()
    if (!(first instanceof Error)) return first
    if (!isOutage(first)) throw first
    if (!sent || isReply(first.cause)) {
      onUndone?.(first)
      return 'undone'
    }
    const end = performance.now() + this.#link.retryMs
    for (let left = this.#link.retryMs; left > 0 && !this.#link.isClosed(); left = end - performance.now()) {
      const answer = await ask()
      if (!(answer instanceof Error)) return answer
      await this.#link.outages.changed(Math.min(left, 50))
    }
    return 'unknown'
  }

  async #giveBack (key: string, holder: string, ttlMs: number): Promise<void> {
    const { outages, isClosed } = this.#link
    await giveBack(outages, ttlMs, isClosed, () => this.#release(key, holder))
  }

  #release (key: string, holder: string): Promise<number> {
    return this.#link.run((_client, call) => call(release, { keys: [key], args: [holder] }))
  }
}

/**
 * Key of the last token of a lock, in the slot of the lock's own key on a Redis Cluster. Null where a name there has a brace
 * that ends no tag (`a}b`).
 */
function fenceOf (key: string, name: string, { keyOf, isCluster }: LockLink): string | null {
  if (/^[^{]*\{[^}]+\}/.test(name)) return keyOf('link', 'fence', name)
  return isCluster && /[{}]/.test(name) ? null : keyOf('link', 'fence', `{${key}}`)
}

function asError (err: unknown): Error {
  return err as Error
}
