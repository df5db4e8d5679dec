import type { FastifyBaseLogger } from 'fastify'
import type { Unsubscribe } from '@jpulse/redis-link'
import type { Acknowledgements } from './acknowledgements.ts'
import type { Connection } from './connection.ts'
import { hostOf } from './host.ts'
import { uniqueId } from '../id.ts'
import { parseMessage, parseOps, releaseText, type ActiveBlock, type Message } from './messages.ts'
import { now, pause, surely } from '../time.ts'
import type { View } from './view.ts'
import { Watch, type Epochs } from './epochs.ts'

export interface MemberOptions {
  readonly leaseMs: number
  readonly blockTtlMs: number
  readonly generationTtlMs: number
}

/** What a renewal found, in words. */
interface Renewal {
  readonly nonce: string
  readonly seq: number
  readonly isOpen: boolean
  readonly space: string
  readonly isCounted: boolean
  readonly blocks: ActiveBlock[]
}

/** How long messages that a renewal proves to be under way may take before they count as lost. */
const GRACE_MS = 40

/**
 * An instance that may serve its own level: holds the lease, hears BLOCK and RELEASE in their order, acknowledges.
 *
 * The rules and why each is needed: docs/coherence.md.
 */
export class Member {
  readonly id: string
  readonly connection: Connection
  readonly #view: View
  readonly #epochs: Epochs
  readonly #options: MemberOptions
  readonly #log: FastifyBaseLogger
  readonly #mayLease: () => Promise<boolean>
  readonly #acks: Acknowledgements
  readonly #watch: Watch
  readonly #renewNow = (): void => { this.renew().catch((err) => this.#log.debug({ err }, 'a lease was not renewed')) }
  readonly #caughtUp = new Set<() => void>()
  #timer: NodeJS.Timeout | undefined
  #unsubscribe: Unsubscribe | undefined
  #nonce: string | null = null
  #space = ''
  #lastSeq = 0
  #seen = { nonce: '', seq: 0 }
  #token = ''
  #running = false
  #again = false
  #closed = false

  /** @param mayLease asked at each renewal whether anything but Redis forbids a lease */
  constructor (id: string, connection: Connection, view: View, epochs: Epochs, acks: Acknowledgements, mayLease: () => Promise<boolean>, options: MemberOptions, log: FastifyBaseLogger) {
    this.id = id
    this.connection = connection
    this.#view = view
    this.#epochs = epochs
    this.#acks = acks
    this.#mayLease = mayLease
    this.#options = options
    this.#log = log
    this.#watch = new Watch(options.blockTtlMs)
  }

  /** Nonce of the epoch that this member is in. */
  get nonce (): string | null {
    return this.#nonce
  }

  /** Name under which the shared level keeps its values now. */
  get space (): string {
    return this.#space
  }

  /** Listens, joins, and renews until it is closed. Resolves when listening, at the latest after the first attempt to join. */
  async start (): Promise<void> {
    const { link, subscriber } = this.connection
    this.#unsubscribe = await subscriber.subscribe(this.connection.keys.bus, (bytes) => this.#hear(bytes))
    subscriber.on('up', this.#renewNow)
    link.on('up', this.#renewNow)
    this.#timer = setInterval(this.#renewNow, this.#options.leaseMs / 4).unref()
    await this.renew().catch(() => {})
  }

  /** Gives the lease up, says so to Redis where it answers, and stops. */
  async close (): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    this.connection.subscriber.off('up', this.#renewNow)
    this.connection.link.off('up', this.#renewNow)
    this.#view.endLease()
    if (!this.connection.isUp) return
    await Promise.allSettled([
      this.connection.script('configCacheLeaveV1', [], this.id),
      this.#unsubscribe?.()
    ])
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
    if (this.#closed || !this.connection.isUp) return
    // The lease runs from before the request was sent: whatever delays the reply shortens it.
    const sentAt = now()
    const { version } = this.connection
    const [reply, mayLease] = await Promise.all([this.#ask(), this.#mayLease()])
    if (this.#closed || version !== this.connection.version) return
    const behind = await this.#catchUp(reply)
    if (this.#closed || version !== this.connection.version) return
    if (behind) this.#resync(reply)
    this.#removeSilent(reply)
    if (reply.nonce === this.#seen.nonce && reply.seq < this.#seen.seq && this.#lastSeq < this.#seen.seq) this.#again = true
    else if (!reply.isCounted) this.#again = true
    else if (!reply.isOpen) await this.#openWhenQuarantineIsOver(reply.nonce)
    else if (mayLease && reply.nonce === this.#nonce) this.#view.grant(sentAt + this.#options.leaseMs)
    if (!mayLease) this.#view.endLease()
  }

  async #ask (): Promise<Renewal> {
    const token = uniqueId()
    const [nonce, seq, open, space, counted, ops] = await this.connection.script('configCacheRenewV1', [this.connection.keys.hello(this.id)],
      this.id, this.#token, token, hostOf())
    this.#token = token
    return { nonce, seq, isOpen: open === '1', space, isCounted: counted === 1, blocks: parseOps(ops) }
  }

  /**
   * Whether something was missed. A reply that is ahead says that messages are lost or still under way on the other
   * connection: taken for lost at once, nearly every renewal under writes would empty the cache.
   */
  async #catchUp (reply: Renewal): Promise<boolean> {
    if (reply.nonce !== this.#nonce) return true
    if (reply.seq <= this.#lastSeq) return false
    const isGap = this.#seen.nonce === reply.nonce && this.#seen.seq > this.#lastSeq
    if (!isGap) await this.#heardUpTo(reply.seq)
    return reply.nonce !== this.#nonce || reply.seq > this.#lastSeq
  }

  async #heardUpTo (seq: number): Promise<void> {
    const deadline = now() + GRACE_MS
    while (this.#lastSeq < seq && now() < deadline) {
      let heard = (): void => {}
      const message = new Promise<void>((resolve) => { heard = resolve })
      this.#caughtUp.add(heard)
      await Promise.race([message, pause(deadline - now())])
      this.#caughtUp.delete(heard)
    }
  }

  #resync (reply: Renewal): void {
    this.#epochs.since(reply.nonce)
    if (reply.nonce !== this.#nonce) this.#view.endLease()
    this.#nonce = reply.nonce
    this.#space = reply.space
    this.#lastSeq = reply.seq
    this.#view.reset(reply.blocks)
    for (const block of reply.blocks) this.#acks.send(block)
  }

  /** Nobody but the clients' monotonic clocks watches the quarantine. Its epoch's first renewal after it finds it open. */
  async #openWhenQuarantineIsOver (nonce: string): Promise<void> {
    if (now() - this.#epochs.since(nonce) < surely(this.#options.blockTtlMs)) return
    const opened = await this.connection.script('configCacheOpenV1', [], nonce)
    if (opened === 1) this.#again = true
  }

  #removeSilent (reply: Renewal): void {
    for (const { opId, beat, tags } of this.#watch.look(reply.blocks)) {
      this.#log.warn({ opId, tags: tags.length }, 'the block of a silent writer is removed')
      this.connection.scriptOnTags('configCacheReleaseV1', tags,
        reply.nonce, opId, beat, this.connection.keys.bus, releaseText(opId), this.#options.generationTtlMs, 0, '').catch(() => {})
    }
  }

  #hear (bytes: Buffer): void {
    const message = parseMessage(bytes)
    if (message === undefined) return
    if (message.nonce !== this.#nonce) {
      this.#missed(message)
      return
    }
    if (message.seq <= this.#lastSeq) return
    if (message.seq > this.#lastSeq + 1) {
      // A message between was lost: everything counts as blocked until a renewal told what stands.
      this.#view.endLease()
      this.#missed(message)
      return
    }
    this.#lastSeq = message.seq
    this.#apply(message)
    for (const heard of this.#caughtUp) heard()
  }

  #missed ({ nonce, seq }: Message): void {
    this.#seen = { nonce, seq }
    this.#renewNow()
  }

  #apply (message: Message): void {
    if (message.kind === 'block') {
      this.#view.block(message.block)
      this.#acks.send(message.block)
    } else if (message.kind === 'release') {
      this.#view.release(message.opId)
    } else {
      this.#space = message.space
      this.#view.forget()
    }
  }
}
