import type { ActiveBlock, Message } from './messages.ts'
import type { View } from './view.ts'

/** The reply to a renewal. */
export interface Renewal {
  readonly nonce: string
  readonly seq: number
  readonly isOpen: boolean
  readonly space: string
  /** Whether Redis has this instance on its list. */
  readonly isCounted: boolean
  readonly blocks: readonly ActiveBlock[]
}

/**
 * The sequence number up to which this instance has applied the messages of an epoch. A pure state machine without clock or socket: messages
 * and renewals go in, and what the instance has to do comes out. The rules are in docs/coherence.md.
 */
export class MessageOrder {
  readonly #view: View
  #nonce: string | null = null
  #space = ''
  #lastSeq = 0
  /** The last message that could not be applied. */
  #missed = { nonce: '', seq: 0 }

  constructor (view: View) {
    this.#view = view
  }

  /** Nonce of the epoch. */
  get nonce (): string | null {
    return this.#nonce
  }

  /** Name under which the shared level keeps its values now. */
  get space (): string {
    return this.#space
  }

  /**
   * `applied`: it was the next. `known`: it was heard, or came with a renewal. `missed`: only a renewal can tell what stands now.
   *
   * A message of a kind that is not known is as good as lost: what it does, perhaps block a tag, stands in the state that the
   * next renewal brings.
   */
  hear (message: Message): 'applied' | 'known' | 'missed' {
    const { nonce, seq } = message
    if (nonce === this.#nonce) {
      if (seq <= this.#lastSeq) return 'known'
      if (seq === this.#lastSeq + 1 && message.kind !== 'unknown') {
        this.#lastSeq = seq
        this.#apply(message)
        return 'applied'
      }
      // A message between was lost: everything counts as blocked until a renewal told what stands.
      this.#view.endLease()
    }
    this.#missed = { nonce, seq }
    return 'missed'
  }

  /** `level`: nothing was missed. `behind`: something was. `late`: messages are lost, or still under way on the other connection. */
  compare ({ nonce, seq }: Pick<Renewal, 'nonce' | 'seq'>): 'level' | 'behind' | 'late' {
    if (nonce !== this.#nonce) return 'behind'
    if (seq <= this.#lastSeq) return 'level'
    return this.#missed.nonce === nonce && this.#missed.seq > this.#lastSeq ? 'behind' : 'late'
  }

  /** Goes on from what a renewal told: everything kept until now is forgotten. */
  resync ({ nonce, seq, space, blocks }: Renewal): void {
    if (nonce !== this.#nonce) this.#view.endLease()
    // Somebody cleared the cache, and the message was missed.
    else if (space !== this.#space) this.#view.clear()
    this.#nonce = nonce
    this.#space = space
    this.#lastSeq = seq
    this.#view.reset(blocks)
  }

  /** `lease`: the renewal proves that this instance knows everything. `again`: another would. `closed`: the epoch is in quarantine. */
  judge ({ nonce, seq, isCounted, isOpen }: Renewal): 'lease' | 'again' | 'closed' {
    const isOutdated = nonce === this.#missed.nonce && seq < this.#missed.seq && this.#lastSeq < this.#missed.seq
    if (isOutdated || !isCounted || nonce !== this.#nonce) return 'again'
    return isOpen ? 'lease' : 'closed'
  }

  #apply (message: Message): void {
    if (message.kind === 'block') {
      this.#view.block(message.block)
    } else if (message.kind === 'release') {
      this.#view.release(message.opId)
    } else if (message.kind === 'clear') {
      this.#space = message.space
      this.#view.clear()
    }
  }
}
