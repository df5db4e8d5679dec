import { now } from '../time.ts'
import type { Connection } from './connection.ts'
import { isDead } from './host.ts'
import type { Block } from './view.ts'

/**
 * Tells writers that this member has dropped what they are about to change. All blocks that one read of the socket brought
 * are acknowledged in one command per writer. A lost acknowledgement costs the writer a lease of waiting, nothing else; a member to whom
 * Redis refuses them would cost it that each time.
 */
export class Acknowledgements {
  readonly #connection: Connection
  readonly #onOwn: (opId: string) => void
  readonly #onRefused: () => void
  readonly #waiting = new Map<string, string[]>()

  /**
   * @param onOwn gets the blocks of this process' own writer, which need no message
   * @param onRefused hears that Redis answered with an error
   */
  constructor (connection: Connection, onOwn: (opId: string) => void, onRefused: () => void) {
    this.#connection = connection
    this.#onOwn = onOwn
    this.#onRefused = onRefused
  }

  send ({ opId, writer }: Block): void {
    if (writer === this.#connection.id) {
      this.#onOwn(opId)
      return
    }
    if (this.#waiting.size === 0) process.nextTick(() => this.#flush())
    const ops = this.#waiting.get(writer)
    if (ops === undefined) this.#waiting.set(writer, [opId])
    else ops.push(opId)
  }

  #flush (): void {
    const messages = [...this.#waiting].map(([writer, ops]) => [this.#connection.keys.acks(writer), `${this.#connection.id} ${ops.join(' ')}`] as const)
    this.#waiting.clear()
    this.#connection.tell(messages).catch(() => { if (this.#connection.isUp) this.#onRefused() })
  }
}

/** How often the processes of members that have not acknowledged yet are probed (kill 0). */
const PROBE_MS = 20

/** A member that a writer waits for. */
export interface ListedMember {
  readonly host: string
  /** When its lease from before the block is over, on the writer's clock. */
  readonly until: number
}

/** A write that waits for members. An acknowledgement costs the same however many members there are: only the last one wakes the writer. */
export class Pending {
  readonly #acked = new Set<string>()
  /** Whom the writer waits for. */
  readonly #awaited = new Set<string>()
  /** Who acknowledged last. */
  last = ''
  #wake = (): void => {}

  acknowledge (memberId: string): void {
    this.#acked.add(memberId)
    this.last = memberId
    if (this.#awaited.delete(memberId) && this.#awaited.size === 0) this.#wake()
  }

  /**
   * Waits until every member has acknowledged, is a dead process of this machine, or is without a lease from before the block.
   *
   * @returns the members that did not acknowledge
   */
  async wait (members: ReadonlyMap<string, ListedMember>): Promise<string[]> {
    for (const id of members.keys()) if (!this.#acked.has(id)) this.#awaited.add(id)
    let probeAt = now() + PROBE_MS
    for (;;) {
      const time = now()
      const isProbed = time >= probeAt
      if (isProbed) probeAt = time + PROBE_MS
      let wakeAt = probeAt
      for (const id of this.#awaited) {
        const { host, until } = members.get(id)!
        if (time >= until || (isProbed && isDead(host))) this.#awaited.delete(id)
        else wakeAt = Math.min(wakeAt, until)
      }
      if (this.#awaited.size === 0) return [...members.keys()].filter((id) => !this.#acked.has(id))
      await this.#acknowledgedOr(wakeAt - time)
    }
  }

  #acknowledgedOr (ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, ms))
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

/** Writes of this process that wait, by operation. */
export class PendingOps {
  readonly #ops = new Map<string, Pending>()

  open (opId: string): Pending {
    const pending = new Pending()
    this.#ops.set(opId, pending)
    return pending
  }

  close (opId: string): void {
    this.#ops.delete(opId)
  }

  acknowledge (memberId: string, opIds: readonly string[]): void {
    for (const opId of opIds) this.#ops.get(opId)?.acknowledge(memberId)
  }

  /** Reads "member op op …". */
  hear (bytes: Buffer): void {
    const [memberId, ...opIds] = bytes.toString().split(' ')
    if (memberId !== undefined) this.acknowledge(memberId, opIds)
  }
}
