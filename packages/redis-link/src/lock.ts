import { randomUUID } from 'node:crypto'
import { checkKey, checkMs } from './check.ts'
import type { Outages } from './connection/outages.ts'
import { isReply } from './connection/refusals.ts'
import type { RedisClient } from './options.ts'
import type { CallScript, Run } from './script/script.ts'
import { extend, release, take } from './script/scripts.ts'

/** A lock that this process holds, until its time is over. */
export interface Lock {
  /** Gives the lock back. False, and nothing changed, where it was lost before or that cannot be told. Never rejects for an outage. */
  release (): Promise<boolean>
  /** Holds it for `ttlMs` from now. False where it was lost, Redis cannot be asked, or it answered after that time. @default the lock's own ttlMs */
  extend (ttlMs?: number): Promise<boolean>
}

/** Takes locks by name. */
export interface Locks {
  /** Null where somebody else holds it, or it cannot be told: also where the answer came after `ttlMs`. */
  tryLock (name: string, ttlMs: number): Promise<Lock | null>
}

/** What locks in Redis need of their link. */
export interface LockLink {
  readonly run: Run
  readonly outages: Outages
  /** Longest that an answer which was lost is asked for again before the caller is told; the same again for a command. */
  readonly patienceMs: number
  readonly isClosed: () => boolean
}

type Command<T> = (client: RedisClient, call: CallScript) => Promise<T>

/** Pauses after which a lock that nobody knows to hold is given back, once more each: what took it may still be on its way. */
const GIVE_BACK_AFTER_MS = [0, 1000, 5000]

/**
 * A lock is a key with the holder's token, which expires by itself (Redis documentation, "Distributed locks", single instance).
 *
 * A command whose answer is lost may have been carried out. It is asked again for a moment, and the token tells; then the
 * caller is told no, and what may be held is given back when Redis answers, or it would be nobody's for all its time.
 */
export class RedisLocks implements Locks {
  readonly #link: LockLink
  readonly #prefix: string

  constructor (link: LockLink, prefix: string) {
    this.#link = link
    this.#prefix = prefix
  }

  async tryLock (name: string, ttlMs: number): Promise<Lock | null> {
    checkKey('The name of a lock', name)
    checkMs('ttlMs', ttlMs)
    const key = this.#prefix + name
    const token = randomUUID()
    const taken = await this.#settle(ttlMs,
      async (client) => await client.set(key, token, 'PX', ttlMs, 'NX') !== null,
      async (_client, call) => await call(take, { keys: [key], args: [token, ttlMs] }) === 1)
    if (taken === 'unknown') this.#giveBack(key, token, ttlMs).catch(() => {})
    if (taken !== true) return null
    return {
      release: async () => {
        const give: Command<boolean> = async (_client, call) => await call(release, { keys: [key], args: [token] }) === 1
        const given = await this.#settle(Infinity, give, give)
        if (given === 'unknown') this.#giveBack(key, token, ttlMs).catch(() => {})
        return given === true
      },
      extend: async (ms = ttlMs) => {
        checkMs('ttlMs', ms)
        const prolong: Command<boolean> = async (_client, call) => await call(extend, { keys: [key], args: [token, ms] }) === 1
        return await this.#settle(ms, prolong, prolong) === true
      }
    }
  }

  /**
   * Runs a command, and where its answer is lost asks again until Redis answers or patience ends.
   *
   * @param goodForMs how long a yes holds, from before it was asked for. One that is read later, because the process stood
   *   still or Redis was slow, is unknown: somebody else may hold the lock by now
   * @returns its answer; false where it was certainly not carried out; 'unknown' where it may have been
   */
  async #settle (goodForMs: number, command: Command<boolean>, again: Command<boolean>): Promise<boolean | 'unknown'> {
    let sent = false
    const ask = async (one: Command<boolean>): Promise<boolean | 'unknown' | Error> => {
      const askedAt = performance.now()
      const answer = await this.#link.run((client, call) => {
        sent = true
        return one(client, call)
      }).catch(asError)
      return answer === true && performance.now() - askedAt >= goodForMs ? 'unknown' : answer
    }
    const first = await ask(command)
    if (!(first instanceof Error)) return first
    if (!sent || isReply(first.cause)) return false
    const end = performance.now() + this.#link.patienceMs
    for (let left = this.#link.patienceMs; left > 0 && !this.#link.isClosed(); left = end - performance.now()) {
      const answer = await ask(again)
      if (!(answer instanceof Error)) return answer
      await this.#link.outages.changed(Math.min(left, 50))
    }
    return 'unknown'
  }

  async #giveBack (key: string, token: string, ttlMs: number): Promise<void> {
    const end = performance.now() + ttlMs
    for (const pause of GIVE_BACK_AFTER_MS) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(pause, Math.max(0, end - performance.now()))).unref())
      for (let given: unknown; given === undefined;) {
        if (this.#link.isClosed() || performance.now() >= end) return
        given = await this.#link.run((_client, call) => call(release, { keys: [key], args: [token] })).catch(() => undefined)
        if (given === 1) return
        if (given === undefined) await this.#link.outages.changed(1000)
      }
    }
  }
}

/** The same within the process, for where no Redis is configured. */
export class MemoryLocks implements Locks {
  readonly #until = new Map<string, { token: symbol, until: number }>()

  async tryLock (name: string, ttlMs: number): Promise<Lock | null> {
    checkKey('The name of a lock', name)
    checkMs('ttlMs', ttlMs)
    this.#prune()
    if (this.#until.has(name)) return null
    const token = Symbol(name)
    const held = () => {
      this.#prune()
      return this.#until.get(name)?.token === token
    }
    this.#until.set(name, { token, until: performance.now() + ttlMs })
    return {
      release: async () => held() && this.#until.delete(name),
      extend: async (ms = ttlMs) => {
        checkMs('ttlMs', ms)
        if (!held()) return false
        this.#until.set(name, { token, until: performance.now() + ms })
        return true
      }
    }
  }

  #prune (): void {
    const now = performance.now()
    for (const [name, { until }] of this.#until) if (until <= now) this.#until.delete(name)
  }
}

function asError (err: unknown): Error {
  return err as Error
}
