import type { Ack } from '../log/epoch-log.ts'
import type { Member, MemberRecord } from '../membership/members.ts'
import type { StopListening, Transport, TransportListener } from './transport.ts'

const ALONE: Ack = Object.freeze({ delivered: false, living: null })

/** Where no Redis is configured: the process is the cluster. */
export class MemoryTransport implements Transport {
  readonly mode = 'local'
  readonly ignored = 0
  readonly #self: Member
  readonly #heartbeatMs: number
  #timer: NodeJS.Timeout | undefined

  constructor ({ leaseMs: _, ...record }: MemberRecord, heartbeatMs: number) {
    this.#self = { ...record, lastSeenMs: 0 }
    this.#heartbeatMs = heartbeatMs
  }

  async open (listener: TransportListener): Promise<void> {
    this.#timer = setInterval(() => listener.onHeartbeat(), this.#heartbeatMs).unref()
  }

  async close (): Promise<void> {
    clearInterval(this.#timer)
  }

  async send (): Promise<Ack> {
    return ALONE
  }

  async listen (): Promise<StopListening> {
    return async () => {}
  }

  reply (): void {}

  members (): Member[] {
    return [{ ...this.#self }]
  }

  openLog (): null {
    return null
  }
}
