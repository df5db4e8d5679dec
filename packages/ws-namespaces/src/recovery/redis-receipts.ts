import { setTimeout as sleep } from 'node:timers/promises'
import { defineScript, reply, type RedisLink } from '@jpulse/redis-link'
import { encodePart } from '../ids.ts'
import { KEPT, ONCE_MS, type Receipt, type Receipts, type Sender } from './receipts.ts'

/**
 * Claims a message of a client.
 *
 * Hash: id → `running <boot id> <attempt> <beat>` or the answer, and `last`, the highest id. Returns '' where it is new, else what stands there, or `forgotten`.
 *
 * Closes: of two workers that got the same message, because the client sent it again after its connection broke, one handles it. Under an
 * earlier attempt of the same process nothing was done, because its reply was lost; a later one stands, whose script Redis ran first. The hash is bounded to the last messages.
 */
const claimMessage = defineScript({
  name: 'wsNamespacesClaimV1',
  keys: ['once'],
  args: ['id', 'bootId', 'attempt', 'ttlMs', 'kept'],
  reply: reply<string>(),
  lua: `
local found = redis.call('HGET', KEYS[1], ARGV[1])
if found then
  local boot, attempt = string.match(found, '^running (%S+) (%d+) ')
  if boot ~= ARGV[2] or tonumber(attempt) > tonumber(ARGV[3]) then return found end
end
local id, kept = tonumber(ARGV[1]), tonumber(ARGV[5])
local last = tonumber(redis.call('HGET', KEYS[1], 'last') or '0')
if id <= last - kept then return 'forgotten' end
if id - last > kept then redis.call('DEL', KEYS[1])
else for old = last - kept + 1, id - kept do redis.call('HDEL', KEYS[1], string.format('%.0f', old)) end end
redis.call('HSET', KEYS[1], ARGV[1], 'running ' .. ARGV[2] .. ' ' .. ARGV[3] .. ' 0')
if id > last then redis.call('HSET', KEYS[1], 'last', ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return ''
`
})

/**
 * Changes a claim, or an earlier one of the same process under which nothing was done: to its next beat, to the answer, or with '' as if it
 * had never been. Returns 1, or 0 where there is none.
 *
 * Closes: an answer to a message whose claim Redis lost would make a hash that never expires; what Redis does late, because it was sent on a
 * connection that broke, must end no later claim.
 */
const changeClaim = defineScript({
  name: 'wsNamespacesClaimChangeV1',
  keys: ['once'],
  args: ['id', 'bootId', 'attempt', 'value'],
  reply: reply<number>(),
  lua: `
local boot, attempt = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^running (%S+) (%d+) ')
if boot ~= ARGV[2] or tonumber(attempt) > tonumber(ARGV[3]) then return 0 end
if ARGV[4] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[4]) end
return 1
`
})

/** What is being handled shows that it is so often; less often than that others look. */
const BEAT_MS = 1000
/** Pause before what could not be recorded is tried again. */
const RETRY_MS = 500
/** Between two looks whether all is recorded. */
const LOOK_MS = 20
const RUNNING = /^running (\S+) \d+ /

function receiptOf (found: string): Receipt {
  if (found === '') return { state: 'new' }
  if (found === 'forgotten') return { state: 'forgotten' }
  const bootId = RUNNING.exec(found)?.[1]
  return bootId === undefined ? { state: 'done', answer: found } : { state: 'running', bootId, beat: found }
}

/** A claim of this process. */
interface Claim {
  readonly key: string
  readonly id: number
  readonly attempt: number
  beats: number
  /** Redis lost it: no beat brings it back. */
  isForgotten: boolean
  /** What could not be recorded yet. */
  answer: string | null
}

/** Across processes, as long as Redis keeps what it was told. */
export class RedisReceipts implements Receipts {
  readonly #link: RedisLink
  readonly #bootId: string
  /** Claims that this process holds, or asks for. */
  readonly #held = new Map<string, Claim>()
  /** Claims whose reply was lost: Redis may have them. */
  readonly #lost = new Map<string, Claim>()
  #attempts = 0
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor (link: RedisLink, bootId: string) {
    this.#link = link
    this.#bootId = bootId
  }

  async claim (sender: Sender, id: number): Promise<Receipt> {
    const key = this.#key(sender)
    const name = `${id} ${key}`
    const held = this.#held.get(name)
    if (held !== undefined) return held.answer === null ? { state: 'running', bootId: this.#bootId, beat: null } : { state: 'done', answer: held.answer }
    const attempt = ++this.#attempts
    const claim: Claim = { key, id, attempt, beats: 0, isForgotten: false, answer: null }
    this.#held.set(name, claim)
    this.#lost.set(name, claim)
    let receipt: Receipt | null = null
    try {
      receipt = receiptOf(await this.#link.runScript(claimMessage, { keys: [key], args: [id, this.#bootId, attempt, ONCE_MS, KEPT] }))
      this.#lost.delete(name)
      return receipt
    } finally {
      if (receipt?.state !== 'new') this.#held.delete(name)
      this.#timer ??= setInterval(() => this.#beat(), BEAT_MS).unref()
    }
  }

  async done (sender: Sender, id: number, answer: string): Promise<void> {
    const name = `${id} ${this.#key(sender)}`
    const claim = this.#held.get(name)
    if (claim === undefined) return
    // While Redis is away who asks here is answered with it.
    claim.answer = answer
    await this.#settle(claim, answer)
    this.#held.delete(name)
  }

  async free (sender: Sender, id: number): Promise<void> {
    const name = `${id} ${this.#key(sender)}`
    const claim = this.#held.get(name)
    this.#held.delete(name)
    if (claim !== undefined) await this.#settle(claim, '')
  }

  async giveUp (sender: Sender, id: number): Promise<void> {
    const name = `${id} ${this.#key(sender)}`
    const claim = this.#lost.get(name)
    // A later connection of the client claims it, or has.
    if (claim === undefined || this.#held.has(name)) return
    this.#lost.delete(name)
    await this.#settle(claim, '')
  }

  async settled (withinMs: number): Promise<void> {
    for (const until = performance.now() + withinMs; this.#held.size > 0 && performance.now() < until;) await sleep(LOOK_MS)
  }

  close (): void {
    this.#isClosed = true
    clearInterval(this.#timer)
  }

  /** Another worker that got the message waits for this: tried for as long as the claim may stand. */
  async #settle (claim: Claim, value: string): Promise<void> {
    const until = performance.now() + ONCE_MS
    do {
      try {
        await this.#change(claim, value)
        return
      } catch {
        await sleep(RETRY_MS, undefined, { ref: false })
      }
    } while (performance.now() < until && !this.#isClosed)
  }

  #beat (): void {
    for (const [name, claim] of this.#held) {
      // Of a claim that has no reply yet nothing is known.
      if (claim.answer !== null || claim.isForgotten || this.#lost.has(name)) continue
      this.#change(claim, `running ${this.#bootId} ${claim.attempt} ${++claim.beats}`).then((stood) => { claim.isForgotten = !stood }, () => {})
    }
    if (this.#held.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Whether the claim stood. */
  async #change ({ key, id, attempt }: Claim, value: string): Promise<boolean> {
    return await this.#link.runScript(changeClaim, { keys: [key], args: [id, this.#bootId, attempt, value] }) === 1
  }

  #key ({ namespace, userId, clientId }: Sender): string {
    return this.#link.key('ws', 'once', `{${encodePart(namespace)}}`, encodePart(userId ?? ''), clientId)
  }
}
