import { uniqueId } from '../id.ts'
import type { Counters } from '../stats.ts'
import { now, pause } from '../time.ts'
import type { Acknowledgements } from './acknowledgements.ts'
import type { Connection } from './connection.ts'
import type { Caretaker } from './epochs.ts'
import { Follower, type Renewal } from './follower.ts'
import { hostOf } from './host.ts'
import { parseMessage, parseOps, type UnknownBlock } from './messages.ts'
import { leaveScript, renewScript } from './scripts.ts'
import { AWAY, BUSY, FENCED, NEWER, QUARANTINE, UNHEARD, type Mode } from './mode.ts'
import { Stalls } from './stalls.ts'
import type { View } from './view.ts'
import type { Witness } from './witness.ts'

/** How long messages that a renewal proves to be under way may take before they count as lost. */
const GRACE_MS = 40

interface LeaseOptions {
  readonly leaseMs: number
  readonly maxStallMs: number
  readonly blockTtlMs: number
}

interface Answer extends Renewal {
  readonly unknown: readonly UnknownBlock[]
  /** The longest of all instances. */
  readonly leaseMs: number
  readonly blockTtlMs: number
  /** Whether Redis does not let us ask which life of it this is. */
  readonly isBlind: boolean
}

/**
 * An instance that may serve its own level: renews the lease, hears BLOCK and RELEASE in their order, acknowledges.
 *
 * The rules and why each is needed: docs/coherence.md.
 */
export class Member {
  readonly connection: Connection
  readonly #view: View
  readonly #follower: Follower
  readonly #acks: Acknowledgements
  readonly #caretaker: Caretaker
  readonly #mayLease: () => Promise<boolean>
  readonly #witness: Witness
  readonly #options: LeaseOptions
  readonly #counters: Counters
  readonly #mode: Mode
  readonly #stalls: Stalls
  readonly #renewNow = (): void => { this.renew().catch((err: unknown) => this.#failed(err)) }
  readonly #caughtUp = new Set<() => void>()
  #timer: NodeJS.Timeout | undefined
  #token = ''
  #running = false
  #again = false
  #closed = false

  /** @param mayLease asked at each renewal whether anything but Redis forbids a lease */
  constructor (connection: Connection, view: View, acks: Acknowledgements, caretaker: Caretaker, witness: Witness, mayLease: () => Promise<boolean>, options: LeaseOptions, counters: Counters, mode: Mode) {
    this.connection = connection
    this.#view = view
    this.#follower = new Follower(view)
    this.#acks = acks
    this.#caretaker = caretaker
    this.#witness = witness
    this.#mayLease = mayLease
    this.#options = options
    this.#counters = counters
    this.#mode = mode
    this.#stalls = new Stalls(options.maxStallMs)
  }

  /** Nonce of the epoch that this member is in. */
  get nonce (): string | null {
    return this.#follower.nonce
  }

  /** Name under which the shared level keeps its values now. */
  get space (): string {
    return this.#follower.space
  }

  /** Listens, joins, and renews until it is closed. Resolves when listening, at the latest after the first attempt to join. */
  async start (): Promise<void> {
    const { keys, link, subscriber } = this.connection
    this.connection.hear(keys.bus, (bytes) => this.#hear(bytes))
    subscriber.on('up', this.#renewNow)
    link.on('up', this.#renewNow)
    this.#stalls.start()
    this.#timer = setInterval(this.#renewNow, this.#options.leaseMs / 4).unref()
    await this.renew().catch((err: unknown) => this.#failed(err))
  }

  /** Gives the lease up, says so to Redis where it answers, and stops. */
  async close (): Promise<void> {
    const { id, isUp, link, subscriber } = this.connection
    this.#closed = true
    clearInterval(this.#timer)
    this.#stalls.stop()
    subscriber.off('up', this.#renewNow)
    link.off('up', this.#renewNow)
    this.#view.endLease()
    if (!isUp) return
    await this.connection.script(leaveScript, this.connection.keys.core, uniqueId(), id).catch(() => {})
  }

  /** Renews now; a call during a renewal makes it run once more. */
  async renew (): Promise<void> {
    if (this.#running) {
      this.#again = true
      return
    }
    this.#running = true
    try {
      // Each round can ask for another: a token to echo, a message that came meanwhile, an epoch that was opened.
      let rounds = 0
      do {
        this.#again = false
        await this.#round()
      } while (this.#again && ++rounds < 8 && !this.#closed)
    } finally {
      this.#running = false
    }
  }

  async #round (): Promise<void> {
    if (this.#closed) return
    if (!this.connection.isUp) return this.#mode.is(this.connection.link.isUp ? UNHEARD : AWAY)
    await this.#listen()
    if (this.#stalls.isHeavy) return this.#giveWay()
    // The lease runs from before the request was sent: whatever delays the reply shortens it.
    const sentAt = now()
    const { version } = this.connection
    const [reply, isFree] = await Promise.all([this.#ask(), this.#mayLease()])
    if (this.#closed || version !== this.connection.version) return
    if (this.#follower.compare(reply) === 'late') await this.#heardUpTo(reply)
    if (this.#closed || version !== this.connection.version) return
    if (reply.isBlind && !await this.#witness.vouch(reply.nonce, version)) {
      this.#again = true
      return
    }
    this.#caretaker.see(reply.nonce, reply.leaseMs, reply.blockTtlMs)
    if (this.#follower.compare(reply) !== 'level') this.#resync(reply)
    this.#caretaker.removeSilent(reply.nonce, reply.blocks, reply.unknown)
    const verdict = this.#follower.judge(reply)
    // Nothing may be served beside a block whose tags nobody here can read.
    const mayLease = isFree && reply.unknown.length === 0
    if (!mayLease) {
      this.#view.endLease()
      this.#mode.is(isFree ? NEWER : FENCED)
    }
    if (verdict === 'again') this.#again = true
    else if (verdict === 'closed') {
      this.#mode.is(QUARANTINE)
      this.#again ||= await this.#caretaker.open(reply.nonce)
    } else if (mayLease) {
      this.#view.grant(sentAt + this.#options.leaseMs)
      this.#mode.is(null)
    }
  }

  /** A lease is for who hears: one that does not would keep each writer waiting for its end. */
  async #listen (): Promise<void> {
    try {
      await this.connection.listen()
    } catch (err) {
      await this.#leave()
      throw err
    }
  }

  /** What Redis refuses is for somebody to know; what was under way when it went away is not. */
  #failed (err: unknown): void {
    const isAway = !this.connection.isUp || this.#closed || /^FST_ERR_REDIS_LINK_(?!SUBSCRIPTION_REFUSED)/.test(String((err as { code?: unknown } | null)?.code))
    if (this.#view.isLeased) return
    if (isAway) this.#mode.is(AWAY)
    else this.#mode.is(String((err as Error | undefined)?.message), 'refused')
  }

  /** Off the list nobody waits for this instance; it serves nothing of its own until it is calm. */
  async #giveWay (): Promise<void> {
    this.#mode.is(BUSY)
    await this.#leave()
  }

  async #leave (): Promise<void> {
    this.#view.endLease()
    if (this.#token === '') return
    this.#token = ''
    await this.connection.script(leaveScript, this.connection.keys.core, uniqueId(), this.connection.id)
  }

  async #ask (): Promise<Answer> {
    const { id, keys } = this.connection
    const token = uniqueId()
    const { leaseMs, blockTtlMs } = this.#options
    const [nonce, seq, open, space, counted, ops, longestLeaseMs, longestBlockMs, blind] = await this.connection.script(renewScript, [...keys.core, keys.hello(id)],
      uniqueId(), id, this.#token, token, `${hostOf()} ${leaseMs}`, leaseMs, blockTtlMs)
    this.#token = token
    return { nonce, seq, isOpen: open === '1', space, isCounted: counted === 1, leaseMs: longestLeaseMs, blockTtlMs: longestBlockMs, isBlind: blind === 1, ...parseOps(ops) }
  }

  /** Taken for lost at once, messages that are late would empty the cache at nearly every renewal under writes. */
  async #heardUpTo (reply: Answer): Promise<void> {
    const deadline = now() + GRACE_MS
    while (this.#follower.compare(reply) === 'late' && now() < deadline) {
      let heard = (): void => {}
      const message = new Promise<void>((resolve) => { heard = resolve })
      this.#caughtUp.add(heard)
      await Promise.race([message, pause(deadline - now())])
      this.#caughtUp.delete(heard)
    }
  }

  #resync (reply: Answer): void {
    this.#follower.resync(reply)
    for (const block of reply.blocks) this.#acks.send(block)
  }

  #hear (bytes: Buffer): void {
    const message = parseMessage(bytes)
    if (message === undefined || message.kind === 'unknown') this.#counters.unknown++
    if (message === undefined) return
    const heard = this.#follower.hear(message)
    if (heard === 'missed') this.#renewNow()
    if (heard !== 'applied') return
    if (message.kind === 'block') {
      if (message.block.writer !== this.connection.id) this.#stalls.heardOther()
      this.#acks.send(message.block)
    }
    for (const wake of this.#caughtUp) wake()
  }
}
