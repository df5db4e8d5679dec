import { defineScript, reply, type RedisLink } from '@jpulse/redis-link'
import { encodePart } from '../ids.ts'

/** Whether a message that its client may send again was handled. */
export type Receipt =
  | { readonly state: 'new' }
  /** Claimed by that process, which handles it or has died. */
  | { readonly state: 'running', readonly bootId: string }
  /** `answer` is what was recorded. */
  | { readonly state: 'done', readonly answer: string }
  /** Older than the messages that are kept: not known. */
  | { readonly state: 'forgotten' }

/** Which client of which namespace. */
export interface Sender { readonly namespace: string, readonly userId: string | null, readonly clientId: string }

/** Remembers which messages were handled, of clients that send again what was not answered. */
export interface Receipts {
  /** Marks a message as being handled, unless it was before. Rejects while Redis is away. */
  claim (sender: Sender, id: number): Promise<Receipt>
  /** Records the answer to a message that this process claimed. Never rejects. */
  done (sender: Sender, id: number, answer: string): Promise<void>
  /** Nothing was done under a claim of this process: as if it had never been. Never rejects. */
  free (sender: Sender, id: number): Promise<void>
}

/** Time to live of a client's receipts after its last message. */
export const ONCE_MS = 600_000
/** Messages of a client that are kept. */
const KEPT = 256

/**
 * Claims a message of a client.
 *
 * Hash: id → `running <boot id>` or the answer, and `last`, the highest id. Returns '' where it is new, else what stands there, or `forgotten`.
 *
 * Closes: of two workers that got the same message, because the client sent it again after its connection broke, one handles it. The hash is bounded to the last messages.
 */
const claimMessage = defineScript({
  name: 'wsNamespacesClaimV1',
  keys: ['once'],
  args: ['id', 'mark', 'ttlMs', 'kept'],
  reply: reply<string>(),
  lua: `
local found = redis.call('HGET', KEYS[1], ARGV[1])
if found then return found end
local id, kept = tonumber(ARGV[1]), tonumber(ARGV[4])
local last = tonumber(redis.call('HGET', KEYS[1], 'last') or '0')
if id <= last - kept then return 'forgotten' end
if id - last > kept then redis.call('DEL', KEYS[1])
else for old = last - kept + 1, id - kept do redis.call('HDEL', KEYS[1], string.format('%.0f', old)) end end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if id > last then redis.call('HSET', KEYS[1], 'last', ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return ''
`
})

/**
 * Ends a claim: with the answer, or with '' as if it had never been. Returns 1, or 0 where there is none of the caller's.
 *
 * Closes: an answer to a message whose claim Redis lost would make a hash that never expires.
 */
const settleMessage = defineScript({
  name: 'wsNamespacesSettleV1',
  keys: ['once'],
  args: ['id', 'mark', 'answer'],
  reply: reply<number>(),
  lua: `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return 1
`
})

const RUNNING = 'running '

function receiptOf (found: string): Receipt {
  if (found === '') return { state: 'new' }
  if (found === 'forgotten') return { state: 'forgotten' }
  return found.startsWith(RUNNING) ? { state: 'running', bootId: found.slice(RUNNING.length) } : { state: 'done', answer: found }
}

/** Across processes, as long as Redis keeps what it was told. */
export class RedisReceipts implements Receipts {
  readonly #link: RedisLink
  readonly #mark: string
  /**
   * Claims that this process holds or asks for, and what it could not record: the mark or the answer. A mark of this process in Redis
   * that is not among them is of a claim whose answer was lost.
   */
  readonly #held = new Map<string, string>()

  constructor (link: RedisLink, bootId: string) {
    this.#link = link
    this.#mark = `${RUNNING}${bootId}`
  }

  async claim (sender: Sender, id: number): Promise<Receipt> {
    const key = this.#key(sender)
    const name = `${id} ${key}`
    const held = this.#held.get(name)
    if (held !== undefined) return receiptOf(held)
    this.#held.set(name, this.#mark)
    let isOurs = false
    try {
      const found = await this.#link.runScript(claimMessage, { keys: [key], args: [id, this.#mark, ONCE_MS, KEPT] })
      isOurs = found === '' || found === this.#mark
      return isOurs ? { state: 'new' } : receiptOf(found)
    } finally {
      if (!isOurs) this.#held.delete(name)
    }
  }

  async done (sender: Sender, id: number, answer: string): Promise<void> {
    const key = this.#key(sender)
    const name = `${id} ${key}`
    try {
      await this.#link.runScript(settleMessage, { keys: [key], args: [id, this.#mark, answer] })
      this.#held.delete(name)
    } catch {
      // Of what was not done the mark may stay: whoever claims it here next finds a claim that nobody holds.
      if (answer === '') this.#held.delete(name)
      else this.#held.set(name, answer)
      setTimeout(() => this.#held.delete(name), ONCE_MS).unref()
    }
  }

  async free (sender: Sender, id: number): Promise<void> {
    await this.done(sender, id, '')
  }

  #key ({ namespace, userId, clientId }: Sender): string {
    return this.#link.key('ws', 'once', `{${encodePart(namespace)}}`, encodePart(userId ?? ''), clientId)
  }
}

interface Kept { readonly found: Map<number, string>, last: number, until: number }

/** Where no Redis is configured. */
export class MemoryReceipts implements Receipts {
  readonly #senders = new Map<string, Kept>()
  readonly #mark: string

  constructor (bootId: string) {
    this.#mark = `${RUNNING}${bootId}`
  }

  async claim (sender: Sender, id: number): Promise<Receipt> {
    const kept = this.#of(sender)
    const found = kept.found.get(id)
    if (found !== undefined) return receiptOf(found)
    if (id <= kept.last - KEPT) return { state: 'forgotten' }
    kept.found.set(id, this.#mark)
    kept.last = Math.max(kept.last, id)
    for (const old of kept.found.keys()) if (old <= kept.last - KEPT) kept.found.delete(old)
    return { state: 'new' }
  }

  async done (sender: Sender, id: number, answer: string): Promise<void> {
    const { found } = this.#of(sender)
    if (found.has(id)) found.set(id, answer)
  }

  async free (sender: Sender, id: number): Promise<void> {
    this.#of(sender).found.delete(id)
  }

  #of ({ namespace, userId, clientId }: Sender): Kept {
    const key = JSON.stringify([namespace, userId, clientId])
    const now = performance.now()
    const kept = this.#senders.get(key) ?? { found: new Map(), last: 0, until: 0 }
    kept.until = now + ONCE_MS
    // Least recently used first.
    this.#senders.delete(key)
    this.#senders.set(key, kept)
    for (const [oldest, { until }] of this.#senders) {
      if (until >= now) break
      this.#senders.delete(oldest)
    }
    return kept
  }
}
