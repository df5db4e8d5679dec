import { setTimeout as sleep } from 'node:timers/promises'
import { Frame } from '../delivery/frame.ts'
import { NOT_KEPT, type Receipt, type Receipts, type Sender } from '../recovery/receipts.ts'
import type { ErrorCode } from '../codes.ts'
import type { Peer } from './peer.ts'

/** What a message was answered with. */
export type Answered = { readonly json: string, readonly bytes: Uint8Array | null } | { readonly code: ErrorCode }

/** Answers that are longer are not kept. */
const LONGEST_ANSWER = 4096
/** Messages of one client that may wait for their turn. */
const MOST_WAITING = 256
/** How often a message that waits looks again: for Redis, or for the worker that handles the same message. */
const LOOK_MS = 250
/** As long as a request waits for its handler. */
const ANSWER_MS = 30_000
/** Looks in a row, 4 s, in which a worker that handles a message shows itself several times. Who does not is dead, stands still, or never knew of its claim. */
const SILENT_LOOKS = 16

interface Queue { last: Promise<void>, waiting: number }

/**
 * Has each message of a client that carries `once` handled at most once, whichever worker its client sends it to again, and answers
 * the later ones as the first. In order: a message waits for the claim of the one before.
 */
export class Once {
  readonly #receipts: Receipts
  readonly #isAlive: (bootId: string) => boolean
  readonly #queues = new WeakMap<Peer, Queue>()

  constructor (receipts: Receipts, isAlive: (bootId: string) => boolean) {
    this.#receipts = receipts
    this.#isAlive = isAlive
  }

  /** `handle` is told where to record its answer. */
  take (conn: Peer, id: string | number, handle: (record: (answer: Answered) => void) => void): void {
    const number = Number(id)
    if (!Number.isSafeInteger(number) || number < 1 || String(number) !== String(id)) return conn.fail('INVALID_MESSAGE', id)
    const queue = this.#queues.get(conn) ?? { last: Promise.resolve(), waiting: 0 }
    this.#queues.set(conn, queue)
    if (queue.waiting >= MOST_WAITING) return conn.fail('RATE_LIMIT_EXCEEDED', id)
    queue.waiting++
    queue.last = queue.last.then(() => this.#next(conn, id, number, handle)).catch((err: unknown) => {
      conn.hub.log.error({ err, namespace: conn.namespace }, 'a message could not be handled')
    }).finally(() => { queue.waiting-- })
  }

  async #next (conn: Peer, id: string | number, number: number, handle: (record: (answer: Answered) => void) => void): Promise<void> {
    const sender = { namespace: conn.namespace, userId: conn.userId, clientId: conn.clientId }
    const holder = new Holder(this.#isAlive)
    let receipt: Receipt | null = null
    while (!conn.isGone && conn.ended === null) {
      receipt = await this.#receipts.claim(sender, number).catch(() => null)
      // The server may have ended the connection meanwhile. Where the client may come back it sends the message again.
      if (receipt?.state === 'new') return conn.ended === null ? handle((answer) => { this.#record(sender, number, answer) }) : this.#receipts.free(sender, number)
      if (receipt?.state === 'done') return repeat(conn, id, receipt.answer)
      if (receipt?.state === 'forgotten' || holder.isSilent(receipt)) return conn.fail('OUTCOME_UNKNOWN', id)
      await sleep(LOOK_MS, undefined, { ref: false })
    }
    // Nothing was done here, and where the reply was lost the worker that the client moved to waits for the end of this claim.
    if (receipt === null) await this.#receipts.giveUp(sender, number)
  }

  #record (sender: Sender, number: number, answer: Answered): void {
    const isKept = 'json' in answer && answer.bytes === null && answer.json.length <= LONGEST_ANSWER
    this.#receipts.done(sender, number, isKept ? answer.json : 'code' in answer ? answer.code : NOT_KEPT)
  }
}

/** Who handles a message that another connection brought: whether it is still worth waiting for. */
class Holder {
  readonly #isAlive: (bootId: string) => boolean
  readonly #began = performance.now()
  #beat = ''
  #looks = 0

  constructor (isAlive: (bootId: string) => boolean) {
    this.#isAlive = isAlive
  }

  /** @param receipt null while Redis is away: it is not known whether the message was handled, so it waits; the client has a timeout of its own */
  isSilent (receipt: Extract<Receipt, { state: 'running' }> | null): boolean {
    if (receipt === null || receipt.beat === null || receipt.beat !== this.#beat) this.#looks = 0
    if (receipt === null) return false
    this.#beat = receipt.beat ?? ''
    return !this.#isAlive(receipt.bootId) || ++this.#looks > SILENT_LOOKS || performance.now() - this.#began > ANSWER_MS
  }
}

/** A code of an error, or JSON. */
function repeat (conn: Peer, id: string | number, answer: string): void {
  if (answer.startsWith('{')) conn.deliver(new Frame(answer), null, false)
  else conn.fail(answer as ErrorCode, id)
}
