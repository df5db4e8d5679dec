import { isDead } from './host.ts'
import { now } from './time.ts'

/** A write that waits for members. */
export class Pending {
  readonly #acked = new Set<string>()
  #wake = (): void => {}

  acknowledge (memberId: string): void {
    this.#acked.add(memberId)
    this.#wake()
  }

  /**
   * Waits until every member has acknowledged, is a dead process of this machine, or `deadline` has passed.
   *
   * @param members id -> host
   * @returns the members that did not acknowledge
   */
  async wait (members: ReadonlyMap<string, string>, deadline: number): Promise<string[]> {
    const dead = new Set<string>()
    let look = now() + LOOK_MS
    for (;;) {
      const silent = [...members.keys()].filter((id) => !this.#acked.has(id))
      if (silent.every((id) => dead.has(id)) || now() >= deadline) return silent
      if (now() >= look) {
        for (const id of silent) if (isDead(members.get(id)!)) dead.add(id)
        look = now() + LOOK_MS
        if (silent.every((id) => dead.has(id))) return silent
      }
      await this.#acknowledgedOr(Math.min(look, deadline) - now())
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

/** A member is asked whether it lives only when it is late. */
const LOOK_MS = 20

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
