import { MemoryTerms, type Terms } from '../leader/terms.ts'
import type { Ack } from '../log/epoch-log.ts'
import type { Member, MemberRecord } from '../membership/members.ts'
import type { WireReply } from '../messages/frame.ts'
import type { Outgoing, StopListening, Transport, TransportListener } from '../messages/transport.ts'
import { MemoryClaims } from '../once/memory-claims.ts'
import type { Claims } from '../once/once.ts'

/** An application that joined. */
interface Joined {
  readonly member: Member
  readonly listener: TransportListener
}

/**
 * A cluster within one process, without Redis: applications that are registered with it are members of each other's cluster.
 * For tests of applications; made by `memoryCluster()`.
 */
export class MemoryCluster {
  readonly #joined = new Map<string, Joined>()
  readonly #claims = new MemoryClaims()
  readonly #terms = new Map<string, Terms>()
  #last: Promise<void> = Promise.resolve()

  /** What one application sends through. */
  transport (record: MemberRecord, heartbeatMs: number): Transport {
    return new MemberTransport(this, record, heartbeatMs)
  }

  /** The claims of all, as one application sees them: it closes its own view. */
  claims (): Claims {
    const shared = this.#claims
    let closed = false
    return {
      take: async (name, token, ttlMs, awaited) => closed ? null : shared.take(name, token, ttlMs, awaited),
      giveBack: async () => {},
      forgo: (name, token) => shared.forgo(name, token),
      done: (name, token) => shared.done(name, token),
      wait: (name, ms) => closed ? Promise.resolve() : shared.wait(name, ms),
      close: () => {
        closed = true
        shared.wakeAll()
      }
    }
  }

  terms (name: string): Terms {
    const terms = this.#terms.get(name) ?? new MemoryTerms(false)
    this.#terms.set(name, terms)
    return terms
  }

  members (): Member[] {
    return [...this.#joined.values()].map(({ member }) => ({ ...member }))
  }

  join (member: Member, listener: TransportListener): void {
    const others = [...this.#joined.values()]
    this.#joined.set(member.bootId, { member, listener })
    for (const other of others) {
      other.listener.onJoin({ ...member })
      listener.onJoin({ ...other.member })
    }
  }

  leave (bootId: string): void {
    const left = this.#joined.get(bootId)
    if (left === undefined) return
    this.#joined.delete(bootId)
    for (const { listener } of this.#joined.values()) listener.onLeave({ ...left.member })
  }

  /** Hands something to members, after all that was handed on before. Not within the caller's own stack. */
  hand (to: (bootId: string) => boolean, how: (listener: TransportListener) => void): Promise<void> {
    this.#last = this.#last.then(() => new Promise((resolve) => { setImmediate(resolve) })).then(() => {
      for (const [bootId, { listener }] of [...this.#joined]) if (to(bootId)) how(listener)
    })
    return this.#last
  }
}

class MemberTransport implements Transport {
  readonly ignored = 0
  readonly #cluster: MemoryCluster
  readonly #self: Member
  readonly #heartbeatMs: number
  #isOpen = false
  #timer: NodeJS.Timeout | undefined

  constructor (cluster: MemoryCluster, { leaseMs: _, ...record }: MemberRecord, heartbeatMs: number) {
    this.#cluster = cluster
    this.#self = { ...record, lastSeenMs: 0 }
    this.#heartbeatMs = heartbeatMs
  }

  get mode (): 'cluster' | 'local' {
    return this.#isOpen ? 'cluster' : 'local'
  }

  async open (listener: TransportListener): Promise<void> {
    this.#isOpen = true
    this.#cluster.join(this.#self, listener)
    this.#timer = setInterval(() => listener.onHeartbeat(), this.#heartbeatMs).unref()
    listener.onMode('cluster')
  }

  async close (): Promise<void> {
    this.#isOpen = false
    clearInterval(this.#timer)
    this.#cluster.leave(this.#self.bootId)
  }

  async send (message: Outgoing): Promise<Ack> {
    if (!this.#isOpen) return { delivered: false, living: null }
    const living = this.#cluster.members().map(({ bootId }) => bootId)
    const handed = this.#cluster.hand((bootId) => bootId !== message.bootId, (listener) => listener.onMessage(message))
    // Who asks waits for the answers.
    if (message.kind === 'tell') await handed
    return { delivered: true, living }
  }

  async listen (): Promise<StopListening> {
    return async () => {}
  }

  reply (toBootId: string, reply: WireReply): void {
    this.#cluster.hand((bootId) => bootId === toBootId, (listener) => listener.onReply(reply))
  }

  members (): Member[] {
    return this.#isOpen ? this.#cluster.members() : [{ ...this.#self }]
  }

  openLog (): null {
    return null
  }
}
