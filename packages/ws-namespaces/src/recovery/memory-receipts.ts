import { KEPT, NOT_KEPT, ONCE_MS, type Receipt, type Receipts, type Sender } from './receipts.ts'

/** Null while the message is being handled. */
type Found = Map<number, string | null>

interface Kept { readonly found: Found, last: number, until: number }

/** Characters of all answers together. Beyond them the oldest are forgotten, and not that their messages were handled. */
const MOST_ANSWERS = 32 * 1024 * 1024
/** Clients that sent something within `ONCE_MS`. Beyond them the one that was silent for longest is forgotten. */
const MOST_SENDERS = 100_000

/** Where no Redis is configured. */
export class MemoryReceipts implements Receipts {
  readonly #senders = new Map<string, Kept>()
  readonly #bootId: string
  readonly #mostAnswers: number
  readonly #mostSenders: number
  #size = 0

  constructor (bootId: string, mostAnswers = MOST_ANSWERS, mostSenders = MOST_SENDERS) {
    this.#bootId = bootId
    this.#mostAnswers = mostAnswers
    this.#mostSenders = mostSenders
  }

  async claim (sender: Sender, id: number): Promise<Receipt> {
    const kept = this.#of(sender)
    const answer = kept.found.get(id)
    if (answer === null) return { state: 'running', bootId: this.#bootId, beat: null }
    if (answer !== undefined) return { state: 'done', answer }
    if (id <= kept.last - KEPT) return { state: 'forgotten' }
    kept.found.set(id, null)
    kept.last = Math.max(kept.last, id)
    for (const old of kept.found.keys()) if (old <= kept.last - KEPT) this.#forget(kept.found, old)
    return { state: 'new' }
  }

  async done (sender: Sender, id: number, answer: string): Promise<void> {
    const { found } = this.#of(sender)
    if (found.get(id) !== null) return
    this.#put(found, id, answer)
    for (const { found } of this.#senders.values()) {
      if (this.#size <= this.#mostAnswers) break
      for (const [id, answer] of found) if (answer !== null && answer.length > NOT_KEPT.length) this.#put(found, id, NOT_KEPT)
    }
  }

  async free (sender: Sender, id: number): Promise<void> {
    this.#forget(this.#of(sender).found, id)
  }

  async giveUp (): Promise<void> {}

  async settled (): Promise<void> {}

  close (): void {}

  #of ({ namespace, userId, clientId }: Sender): Kept {
    const key = JSON.stringify([namespace, userId, clientId])
    const now = performance.now()
    const kept = this.#senders.get(key) ?? { found: new Map(), last: 0, until: 0 }
    kept.until = now + ONCE_MS
    // Least recently used first.
    this.#senders.delete(key)
    this.#senders.set(key, kept)
    for (const [oldest, { until, found }] of this.#senders) {
      if (until >= now && this.#senders.size <= this.#mostSenders) break
      for (const id of found.keys()) this.#forget(found, id)
      this.#senders.delete(oldest)
    }
    return kept
  }

  #put (found: Found, id: number, answer: string): void {
    this.#size += answer.length - (found.get(id)?.length ?? 0)
    found.set(id, answer)
  }

  #forget (found: Found, id: number): void {
    this.#size -= found.get(id)?.length ?? 0
    found.delete(id)
  }
}
