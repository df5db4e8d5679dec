import { createHash } from 'node:crypto'
import type { Kind } from './listeners.ts'

/** One message, as it was heard. */
export interface Heard {
  readonly kind: Kind
  readonly name: string
  readonly message: Buffer
  readonly channel: string
}

/**
 * Two connections that hear the same for a while, of which the second takes the place of the first: each message passes once, in the order of
 * who publishes it.
 *
 * Until `turn` all that the first hears passes, and what only the second heard so far waits: it may be the second of two whose first comes by
 * way of another server. From then on what the second hears passes, but for what the first had before.
 *
 * Messages have no name: those of the same bytes on one channel are told apart by how often each connection heard them. Where the count leaves
 * open which one was missed, one passes twice rather than never.
 */
export class Overlap {
  readonly #pass: (heard: Heard) => void
  /** How often the first heard what the second has not: before the second heard all, and since. */
  readonly #ahead = { early: new Map<string, number>(), late: new Map<string, number>() }
  readonly #waiting = new Map<string, Heard[]>()
  #hasBoth = false
  #hasTurned = false

  constructor (pass: (heard: Heard) => void) {
    this.#pass = pass
  }

  first (heard: Heard): void {
    if (this.#hasTurned) return
    this.#pass(heard)
    const id = idOf(heard)
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) count(this.#hasBoth ? this.#ahead.late : this.#ahead.early, id, 1)
    else if (waiting.length > 1) waiting.pop()
    else this.#waiting.delete(id)
  }

  second (heard: Heard): void {
    const id = idOf(heard)
    const { early, late } = this.#ahead
    const ahead = late.has(id) ? late : early
    if (ahead.has(id)) return count(ahead, id, -1)
    if (this.#hasTurned) return this.#pass(heard)
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) this.#waiting.set(id, [heard])
    else waiting.push(heard)
  }

  /** What is published from now on both hear. */
  both (): void {
    this.#hasBoth = true
  }

  /** Both have heard what was published until `both`: what of it the second does not have it will never hear. */
  turn (): void {
    this.#hasTurned = true
    this.#ahead.early.clear()
    for (const waiting of this.#waiting.values()) for (const heard of waiting) this.#pass(heard)
    this.#waiting.clear()
  }
}

function count (counts: Map<string, number>, id: string, by: number): void {
  const sum = (counts.get(id) ?? 0) + by
  if (sum === 0) counts.delete(id)
  else counts.set(id, sum)
}

function idOf ({ kind, name, channel, message }: Heard): string {
  return createHash('sha256').update(`${kind} ${name}\n${channel}\n`).update(message).digest('base64')
}
