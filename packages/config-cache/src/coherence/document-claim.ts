import { defineScript, reply } from '@jpulse/redis-link'
import { within } from '@jpulse/plugin-kit'
import { FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE, FST_ERR_CONFIG_CACHE_UNREACHABLE } from '../errors.ts'
import { uniqueId } from '../id.ts'
import { now } from '../time.ts'
import { reasonOf } from './blocks.ts'
import type { Connection } from './connection.ts'
import { hostOf, isDead } from './host.ts'

/**
 * Takes the claim, or prolongs it; returns whose it is otherwise.
 *
 * KEYS[1] claim; ARGV[1] the own one; ARGV[2] its life in ms; ARGV[3] one of a dead process, '' for none.
 *
 * Closes: two processes that write their first document at the same moment.
 */
const claimScript = defineScript({
  name: 'configCacheClaimV1',
  keys: ['claim'],
  args: ['mine', 'ttlMs', 'dead'],
  reply: reply<string>(),
  lua: `
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] and held ~= ARGV[3] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ''
`
})

const unclaimScript = defineScript({
  name: 'configCacheUnclaimV1',
  keys: ['claim'],
  args: ['mine'],
  reply: reply<number>(),
  lua: `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`
})

/** Names of sources in claims: applications of one process that are given the same one share their documents. */
const ids = new WeakMap<object, string>()

/**
 * Which process has the documents, where sources are private to a process: the first that writes one, as long as it lives. All others neither
 * write nor load documents meanwhile, because what they had would not be what was written.
 */
export class DocumentClaim {
  readonly #connection: Connection
  readonly #mine: string
  readonly #ttlMs: number
  readonly #timeoutMs: number
  /** Until when the claim stands at least, on the monotonic clock. */
  #heldUntil = -Infinity
  /** The claim of another process that was seen last: what is believed while Redis does not answer. */
  #foreign = ''
  #timer: NodeJS.Timeout | undefined

  constructor (connection: Connection, source: object, { leaseMs, redisTimeoutMs }: { readonly leaseMs: number, readonly redisTimeoutMs: number }) {
    this.#connection = connection
    const id = ids.get(source) ?? uniqueId()
    ids.set(source, id)
    this.#mine = `${id} ${hostOf()}`
    this.#ttlMs = 2 * leaseMs
    this.#timeoutMs = redisTimeoutMs
  }

  /** Before a document is written. @throws FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE, FST_ERR_CONFIG_CACHE_UNREACHABLE */
  async forWrite (): Promise<void> {
    if (now() < this.#heldUntil) return
    try {
      await this.#take()
    } catch (err) {
      const refused = new FST_ERR_CONFIG_CACHE_UNREACHABLE(reasonOf(err))
      refused.cause = err
      throw refused
    }
    this.#checkForeign()
    this.#timer ??= setInterval(() => { this.#take().catch(() => {}) }, this.#ttlMs / 4).unref()
  }

  /** Before a document is loaded. While Redis does not answer, by what is known. @throws FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE */
  async forLoad (): Promise<void> {
    if (now() < this.#heldUntil) return
    const asked = this.#connection.run((client) => client.get(this.#connection.keys.claim))
    const held = await within(this.#timeoutMs, asked, () => new Error('late')).catch(() => this.#foreign)
    this.#foreign = held === null || held === this.#mine || isOfDead(held) ? '' : held
    this.#checkForeign()
  }

  async close (): Promise<void> {
    clearInterval(this.#timer)
    this.#heldUntil = -Infinity
    if (this.#timer !== undefined) await this.#connection.script(unclaimScript, [this.#connection.keys.claim], this.#mine).catch(() => {})
  }

  async #take (): Promise<void> {
    const sentAt = now()
    const ask = (dead: string) => this.#connection.script(claimScript, [this.#connection.keys.claim], this.#mine, this.#ttlMs, dead)
    let held = await ask('')
    if (isOfDead(held)) held = await ask(held)
    this.#foreign = held
    this.#heldUntil = held === '' ? sentAt + this.#ttlMs / 2 : -Infinity
  }

  #checkForeign (): void {
    if (this.#foreign !== '') throw new FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE(placeOf(this.#foreign))
  }
}

const placeOf = (claim: string): string => claim.slice(claim.indexOf(' ') + 1)
const isOfDead = (claim: string): boolean => claim !== '' && isDead(placeOf(claim))
