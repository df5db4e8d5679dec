import type { RedisLink } from '@jpulse/redis-link'
import type { Keys } from '../keys.ts'
import type { Place } from '../log/epoch-log.ts'
import { randomId } from './identity.ts'
import { Members, type Member, type MemberRecord } from './members.ts'
import { beat, leave } from './scripts.ts'

export { KEEP_MS } from './scripts.ts'

/** How long a missing change is waited for. */
const CATCH_UP_MS = 100

export interface MembershipListener {
  onJoin (member: Member): void
  onLeave (member: Member): void
  /** Whether it makes sense to renew now. */
  isReady (): boolean
  /** The own number in the log, as far as it is known. */
  seq (): number
  /**
   * The lease was renewed.
   *
   * @param place where the log was
   * @param before what `seq` was when the renewal was sent
   */
  onBeat (place: Place, before: number): void
  onFailure (err: unknown): void
}

/**
 * This process' membership: a lease in Redis, renewed at intervals, and at once when something happened; never twice at a time.
 * With each renewal comes what changed among the others.
 */
export class Membership {
  readonly #link: RedisLink
  readonly #keys: Keys
  readonly #record: MemberRecord
  readonly #everyMs: number
  readonly #listener: MembershipListener
  readonly #members: Members
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | null = null
  /** A renewal that was wanted while another one was in flight. */
  #again: Promise<void> | null = null
  #catchingUp: NodeJS.Timeout | undefined
  #joined = false
  #stopped = false

  constructor (link: RedisLink, keys: Keys, record: MemberRecord, everyMs: number, listener: MembershipListener) {
    this.#link = link
    this.#keys = keys
    this.#record = record
    this.#everyMs = everyMs
    this.#listener = listener
    this.#members = new Members(record, (member) => listener.onJoin(member), (member) => listener.onLeave(member))
  }

  /** Whether this process was a member at any time. */
  get joined (): boolean {
    return this.#joined
  }

  /** Everybody who lives, this process included. */
  list (): Member[] {
    return this.#members.list()
  }

  /** Renews at intervals from now on. */
  start (): void {
    if (this.#stopped) return
    this.#timer = setTimeout(() => {
      this.#renewNow(true)
      this.start()
    }, this.#everyMs).unref()
  }

  /** Renews now; where a renewal is under way, after it. Resolves when it is over, whatever its outcome. */
  renew (): Promise<void> {
    return this.#renewNow(false)
  }

  /** @param waits for changes that were announced, instead of asking for all members */
  #renewNow (waits: boolean): Promise<void> {
    if (this.#stopped || !this.#listener.isReady()) return Promise.resolve()
    // Not a loop until nobody wants one more: while many join that would last as long as they do, and a boot waits for this.
    if (this.#running !== null) {
      this.#again ??= this.#running.then(() => {
        this.#again = null
        return this.renew()
      })
      return this.#again
    }
    this.#running = this.#renew(waits).finally(() => { this.#running = null })
    return this.#running
  }

  /** Takes what came over the channel of joins and leaves. */
  hear (announcement: string): void {
    if (!this.#members.applyChange(announcement)) this.#catchUp()
  }

  /** Gives the lease back, when no renewal is under way any more that could take it again. Rejects in an outage. */
  async leave (): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    clearTimeout(this.#catchingUp)
    await this.#running
    if (!this.#joined) return
    const { state, members, leases, membership } = this.#keys
    await this.#link.runScript(leave, { keys: [state, members, leases], args: [this.#record.bootId, membership] })
  }

  async #renew (waits: boolean): Promise<void> {
    try {
      await this.#beat(waits)
      if (this.#members.isBehind) this.#catchUp()
    } catch (err) {
      this.#listener.onFailure(err)
    }
  }

  /**
   * A change is missing: it is on its way, or with the answer of a renewal, or lost. Asked for after a pause, because while many
   * join each answer is overtaken by the next change, and each costs the list of all members.
   */
  #catchUp (): void {
    if (this.#stopped) return
    this.#catchingUp ??= setTimeout(() => {
      this.#catchingUp = undefined
      if (this.#members.isBehind) this.renew()
    }, CATCH_UP_MS * (1 + Math.random())).unref()
  }

  async #beat (waits: boolean): Promise<void> {
    const { state, log, members, leases, membership } = this.#keys
    const { bootId, leaseMs } = this.#record
    const before = this.#listener.seq()
    const { version, mv: knownMv } = this.#members
    const [epoch, seq, mv, now, ends, list] = await this.#link.runScript(beat, {
      keys: [state, log, members, leases],
      args: [`${randomId()}.0`, bootId, JSON.stringify(this.#record), leaseMs, this.#everyMs, version, membership, waits && !this.#members.isBehind ? 1 : 0]
    })
    this.#members.applyList(epoch, Number(mv), list, knownMv)
    this.#members.applyLeases(Number(now), ends)
    this.#joined = true
    this.#listener.onBeat({ epoch, seq: Number(seq) }, before)
  }
}
