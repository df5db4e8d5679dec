import type { RedisLink } from '@jpulse/redis-link'
import { unavailable } from '../errors.ts'
import type { StoredSession } from './header.ts'
import type { SessionRef } from './ids.ts'
import type { MemoryStore } from './memory-store.ts'
import type { LateLogout, Move, Outage } from './outage.ts'
import type { Origin, SessionStore } from './store.ts'

/**
 * The ages of a logout-all and of the session that outlived it here are told to Redis one after the other, each exact to
 * some milliseconds. This keeps their order.
 */
const CLOCK_SLACK_MICROS = 50_000

/** Tells Redis, which is back, what an `Outage` says that it is to be told: the logouts first, then the sessions that were made in the process. */
export class Replay {
  readonly #primary: SessionStore
  readonly #memory: MemoryStore
  readonly #link: RedisLink
  readonly #outage: Outage

  constructor (primary: SessionStore, memory: MemoryStore, link: RedisLink, outage: Outage) {
    this.#primary = primary
    this.#memory = memory
    this.#link = link
    this.#outage = outage
  }

  /**
   * Logouts and changes come in while this runs, so it goes on until there is nothing left to do. How many sessions were moved.
   *
   * @param asking logout-alls that Redis is being told of, as long as they are
   */
  async run (asking: ReadonlySet<Promise<unknown>>): Promise<number> {
    let moved = 0
    for (;;) {
      const work = this.#outage.next(() => this.#memory.all().map(({ ref }) => ref))
      if (work.kind === 'done') {
        // In the same turn: what a request makes after it is made there.
        this.#memory.clear()
        this.#outage.finish()
        return moved
      }
      if (work.kind === 'logouts') await settle(work.refs.map((ref) => this.#end(ref)))
      else if (work.kind === 'logout-alls') await settle(work.lates.map((late) => this.#endAll(late)))
      else if (work.kind === 'moves') moved += (await settle(work.refs.map((ref) => this.#move(ref)))).filter(Boolean).length
      else await Promise.allSettled(asking)
    }
  }

  async #end (ref: SessionRef): Promise<void> {
    await this.#primary.remove(ref)
    this.#outage.toldEnd(ref)
  }

  async #endAll (late: LateLogout): Promise<void> {
    const { tag, at, except } = late
    const noted = (mark: number) => this.#outage.noted(tag, mark)
    const { mark } = await this.#primary.removeAll(tag, { ageMs: performance.now() - at, noted, ...(except === undefined ? {} : { except }) })
    this.#outage.toldEndAll(late, mark)
  }

  /** A session made here goes to Redis with its age, so that a logout-all elsewhere in the meantime holds for it too. */
  async #move (ref: SessionRef): Promise<boolean> {
    const stored = this.#memory.get(ref)
    if (stored === null) return false
    // Not sent, so it need not be asked later whether it arrived.
    if (!this.#link.isUp) throw unavailable(new Error('the link is down'))
    const { payload, version } = stored
    const lifetimes = this.#memory.lifetimesOf(ref)
    const notice = this.#memory.noticeOf(ref)
    const move = this.#outage.send(ref, performance.now())
    const isNew = move.creates && await this.#primary.create(ref, payload, this.#originOf(ref, stored, move), lifetimes, notice) !== null
    if (!isNew) {
      // There from an attempt whose answer was lost, and changed here since; or refused by a logout.
      const there = await this.#primary.read(ref)
      if (there === null) {
        if (this.#outage.isRefused(ref, move)) await this.#memory.remove(ref)
        return false
      }
      await this.#primary.replace(ref, there.version, payload, lifetimes)
    }
    this.#outage.arrived(ref)
    // Changed while it was moved: the next round takes it along.
    if (this.#memory.get(ref)?.version === version) await this.#memory.remove(ref)
    return isNew
  }

  #originOf (ref: SessionRef, { stamp, createdAt, touchedAt }: StoredSession, { mark, noted }: Move): Origin {
    const clock = this.#memory.now()
    const ahead = Math.round((this.#primary.now?.() ?? Date.now()) - clock)
    if (mark > 0) {
      // The watermark is of Redis' clock, so all of them are: the stamp to the microsecond, the others as well as it is known.
      return { stamp: mark + 1, createdAt: createdAt + ahead, touchedAt: touchedAt + ahead }
    }
    // Never ahead of a logout-all that follows.
    const latest = Math.max(stamp, (clock + 1) * 1000)
    const made = this.#outage.followsLogout(ref) ? Math.min(stamp + CLOCK_SLACK_MICROS, latest) : stamp
    const there = made + ahead * 1000
    if (there > noted + CLOCK_SLACK_MICROS) return { stamp: made, createdAt, touchedAt, clock }
    // What the backup has is as late as Redis' clock may have been; a restoration would find the session ended.
    return { stamp: Math.max(there, noted + 1), createdAt: createdAt + ahead, touchedAt: touchedAt + ahead }
  }
}

/** Waits for all, so that nothing is under way where the next attempt begins. @throws the first failure */
async function settle<T> (promises: Array<Promise<T>>): Promise<T[]> {
  await Promise.allSettled(promises)
  return Promise.all(promises)
}
