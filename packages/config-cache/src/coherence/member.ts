import { uniqueId } from '../id.ts'
import type { Counters } from '../stats.ts'
import { now, pause } from '../time.ts'
import type { Acknowledgements } from './acknowledgements.ts'
import type { Connection } from './connection.ts'
import type { Maintenance } from './epochs.ts'
import { MessageOrder, type Renewal } from './message-order.ts'
import { hostOf } from './host.ts'
import { parseMessage, parseOps, type UnknownBlock } from './messages.ts'
import { leaveScript, renewScript } from './scripts.ts'
import { AWAY, BUSY, FENCED, NEWER, QUARANTINE, UNHEARD, type Mode } from './mode.ts'
import { Stalls } from './stalls.ts'
import type { View } from './view.ts'
import type { ServerRun } from './server-run.ts'

/** How long messages that a renewal proves to be in flight may take before they count as lost. */
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
  /** Whether INFO is forbidden, so that the reply does not say which run of the server it comes from. */
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
  readonly #order: MessageOrder
  readonly #acks: Acknowledgements
  readonly #maintenance: Maintenance
  readonly #mayLease: () => Promise<boolean>
  readonly #serverRun: ServerRun
  readonly #options: LeaseOptions
  readonly #counters: Counters
  readonly #mode: Mode
  readonly #stalls: Stalls
  /** As `renew`; a failure becomes the reason why nothing is cached. */
  readonly renewNow = (): void => { this.renew().catch((err: unknown) => this.#failed(err)) }
  readonly #caughtUp = new Set<() => void>()
  #timer: NodeJS.Timeout | undefined
  #token = ''
  #running = false
  /** Counts how often it started over. */
  #starts = 0
  #again = false
  #closed = false

  /** @param mayLease asked at each renewal whether anything but Redis forbids a lease */
  constructor (connection: Connection, view: View, acks: Acknowledgements, maintenance: Maintenance, serverRun: ServerRun, mayLease: () => Promise<boolean>, options: LeaseOptions, counters: Counters, mode: Mode) {
    this.connection = connection
    this.#view = view
    this.#order = new MessageOrder(view)
    this.#acks = acks
    this.#maintenance = maintenance
    this.#serverRun = serverRun
    this.#mayLease = mayLease
    this.#options = options
    this.#counters = counters
    this.#mode = mode
    this.#stalls = new Stalls(options.maxStallMs)
  }

  /** Nonce of the epoch that this member is in. */
  get nonce (): string | null {
    return this.#order.nonce
  }

  /** Name under which the shared level keeps its values now. */
  get space (): string {
    return this.#order.space
  }

  /** Listens, joins, and renews until it is closed. Resolves when listening, at the latest after the first attempt to join. */
  async start (): Promise<void> {
    const { keys, link, subscriber } = this.connection
    this.connection.hear(keys.bus, (bytes) => this.#hear(bytes))
    subscriber.on('up', this.renewNow)
    link.on('up', this.renewNow)
    this.#stalls.start()
    this.#timer = setInterval(this.renewNow, this.#options.leaseMs / 4).unref()
    await this.renew().catch((err: unknown) => this.#failed(err))
  }

  /** Gives the lease up, says so to Redis where it answers, and stops. */
  async close (): Promise<void> {
    const { id, isUp, link, subscriber } = this.connection
    this.#closed = true
    clearInterval(this.#timer)
    this.#stalls.stop()
    subscriber.off('up', this.renewNow)
    link.off('up', this.renewNow)
    this.#view.endLease()
    if (!isUp) return
    await this.connection.script(leaveScript, this.connection.keys.core, uniqueId(), id).catch(() => {})
  }

  /** Ends the lease: only what Redis says from now on begins another, not the reply to a renewal that is under way. */
  startOver (): void {
    this.#starts++
    this.#view.endLease()
    this.renewNow()
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
    if (this.#stalls.mustGiveWay) return this.#giveWay()
    // The lease runs from before the request was sent: whatever delays the reply shortens it.
    const sentAt = now()
    const { version } = this.connection
    const starts = this.#starts
    const isOld = (): boolean => this.#closed || version !== this.connection.version || starts !== this.#starts
    const [reply, isFree] = await Promise.all([this.#ask(), this.#mayLease()])
    if (isOld()) return
    if (this.#order.compare(reply) === 'late') await this.#waitForMessages(reply)
    if (isOld()) return
    if (reply.isBlind && !await this.#serverRun.isSame(reply.nonce, version)) {
      this.#again = true
      return
    }
    this.#maintenance.noteEpoch(reply.nonce, reply.leaseMs, reply.blockTtlMs)
    if (this.#order.compare(reply) !== 'level') this.#resync(reply)
    this.#maintenance.removeExpired(reply.nonce, reply.blocks, reply.unknown)
    const verdict = this.#order.judge(reply)
    // Nothing may be served beside a block whose tags nobody here can read.
    const mayLease = isFree && reply.unknown.length === 0
    if (!mayLease) {
      this.#view.endLease()
      this.#mode.is(isFree ? NEWER : FENCED)
    }
    if (verdict === 'again') this.#again = true
    else if (verdict === 'closed') {
      this.#mode.is(QUARANTINE)
      this.#again ||= await this.#maintenance.open(reply.nonce)
    } else if (mayLease) {
      this.#view.grant(sentAt + this.#options.leaseMs)
      this.#mode.is(null)
    }
  }

  /** No lease without a subscription: a member that hears nothing never acknowledges, so that each writer would wait for the end of its lease. */
  async #listen (): Promise<void> {
    try {
      await this.connection.listen()
    } catch (err) {
      await this.#leave()
      throw err
    }
  }

  /** A refusal of Redis, by an ACL say, is the reason that is shown; errors of commands in flight when the connection broke are not. */
  #failed (err: unknown): void {
    const isAway = !this.connection.isUp || this.#closed || /^FST_ERR_REDIS_LINK_(?!SUBSCRIPTION_REFUSED)/.test(String((err as { code?: unknown } | null)?.code))
    if (this.#view.isLeased) return
    if (isAway) this.#mode.is(AWAY)
    else this.#mode.is(String((err as Error | undefined)?.message), 'refused')
  }

  /** Takes this instance off the list of members, so that no writer waits for it; it serves nothing from L1 until its event loop runs again. */
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
  async #waitForMessages (reply: Answer): Promise<void> {
    const deadline = now() + GRACE_MS
    while (this.#order.compare(reply) === 'late' && now() < deadline) {
      let heard = (): void => {}
      const message = new Promise<void>((resolve) => { heard = resolve })
      this.#caughtUp.add(heard)
      await Promise.race([message, pause(deadline - now())])
      this.#caughtUp.delete(heard)
    }
  }

  #resync (reply: Answer): void {
    this.#order.resync(reply)
    for (const block of reply.blocks) this.#acks.send(block)
  }

  #hear (bytes: Buffer): void {
    const message = parseMessage(bytes)
    if (message === undefined || message.kind === 'unknown') this.#counters.unknown++
    if (message === undefined) return
    const heard = this.#order.hear(message)
    if (heard === 'missed') this.renewNow()
    if (heard !== 'applied') return
    if (message.kind === 'block') {
      if (message.block.writer !== this.connection.id) this.#stalls.noteForeignWrite()
      this.#acks.send(message.block)
    }
    for (const wake of this.#caughtUp) wake()
  }
}
