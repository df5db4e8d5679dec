import { defineScript, giveBackScript, reply } from '@jpulse/redis-link'
import { within } from '@jpulse/plugin-kit'
import { FST_ERR_CONFIG_CACHE_CLOSED, FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE, FST_ERR_CONFIG_CACHE_UNREACHABLE } from '../errors.ts'
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

/** What the applications of a process that were given the same source know of its claim together: its documents are theirs alike. */
interface Holding {
  /** The source in the claim. */
  readonly id: string
  readonly users: Set<DocumentClaim>
  /** Writes under way, which need the claim. */
  writes: number
  /** Whether documents may have been written: from then on the claim is kept. */
  hasDocuments: boolean
  /** Until when the claim stands at least, on the monotonic clock. */
  heldUntil: number
  /** Whether the claim may stand in Redis. */
  mayStand: boolean
  /** The claim of another process that was seen last: what is believed while Redis does not answer. */
  foreign: string
  /** Who took the claim while documents were here: for good, because those are older than what was written there. */
  lostTo: string
  /** One script at a time: a claim that is prolonged must not overtake its end. */
  turn: Promise<unknown>
}

const holdings = new WeakMap<object, Map<string, Holding>>()

function holdingOf (source: object, key: string): Holding {
  const ofSource = holdings.get(source) ?? new Map<string, Holding>()
  holdings.set(source, ofSource)
  const holding = ofSource.get(key) ?? { id: uniqueId(), users: new Set(), writes: 0, hasDocuments: false, heldUntil: -Infinity, mayStand: false, foreign: '', lostTo: '', turn: Promise.resolve() }
  ofSource.set(key, holding)
  return holding
}

/**
 * Which process has the documents, where sources are private to a process: the first that writes one, as long as it lives. All others neither
 * write nor load documents meanwhile, because what they had would not be what was written.
 */
export class DocumentClaim {
  readonly #connection: Connection
  readonly #holding: Holding
  readonly #mine: string
  readonly #ttlMs: number
  readonly #timeoutMs: number
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor (connection: Connection, source: object, { leaseMs, redisTimeoutMs }: { readonly leaseMs: number, readonly redisTimeoutMs: number }) {
    this.#connection = connection
    this.#holding = holdingOf(source, connection.keys.claim)
    this.#holding.users.add(this)
    this.#mine = `${this.#holding.id} ${hostOf()}`
    this.#ttlMs = 2 * leaseMs
    this.#timeoutMs = redisTimeoutMs
  }

  /**
   * Runs the write of a document under the claim, which is given up where it turns out that nothing was written.
   *
   * @throws FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE, FST_ERR_CONFIG_CACHE_UNREACHABLE before the write; what that throws
   */
  async during<T> (write: () => Promise<T>): Promise<T> {
    const holding = this.#holding
    holding.writes++
    try {
      await this.#forWrite()
      return await write()
    } finally {
      if (--holding.writes === 0 && !holding.hasDocuments) this.#giveUp().catch(() => {})
    }
  }

  /** Within a write: a document is about to be written, or may have been. */
  keep (): void {
    this.#holding.hasDocuments = true
  }

  /** Before a document is loaded. While Redis does not answer, by what is known. @throws FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE */
  async forLoad (): Promise<void> {
    if (now() < this.#holding.heldUntil) return
    const { hasDocuments } = this.#holding
    const asked = this.#connection.run((client) => client.get(this.#connection.keys.claim))
    const held = await within(this.#timeoutMs, asked, () => new Error('late')).catch(() => undefined)
    if (held !== undefined) this.#see(held === null || held === this.#mine || isOfDead(held) ? '' : held, hasDocuments)
    this.#checkForeign()
  }

  /** The last of a process gives the claim up; before that another one prolongs it. */
  async close (): Promise<void> {
    const { users } = this.#holding
    this.#isClosed = true
    users.delete(this)
    const wasProlonging = this.#timer !== undefined
    clearInterval(this.#timer)
    const [next] = users
    if (next === undefined) await this.#giveUp().catch(() => {})
    else if (wasProlonging) next.#prolong()
  }

  async #forWrite (): Promise<void> {
    if (now() < this.#holding.heldUntil) return
    try {
      await this.#take()
    } catch (err) {
      const refused = new FST_ERR_CONFIG_CACHE_UNREACHABLE(reasonOf(err))
      refused.cause = err
      throw refused
    }
    this.#checkForeign()
    if (this.#isClosed) throw new FST_ERR_CONFIG_CACHE_CLOSED()
    this.#prolong()
  }

  #prolong (): void {
    this.#timer ??= setInterval(() => { this.#take().catch(() => {}) }, this.#ttlMs / 4).unref()
  }

  #take (): Promise<void> {
    return this.#inTurn(async () => {
      const { hasDocuments, lostTo, writes } = this.#holding
      if (this.#isClosed || lostTo !== '' || (writes === 0 && !hasDocuments)) return
      const sentAt = now()
      const ask = (dead: string) => this.#connection.script(claimScript, [this.#connection.keys.claim], this.#mine, this.#ttlMs, dead)
      this.#holding.mayStand = true
      let held = await ask('')
      if (isOfDead(held)) held = await ask(held)
      this.#see(held, hasDocuments)
      this.#holding.mayStand = held === ''
      this.#holding.heldUntil = held === '' ? sentAt + this.#ttlMs / 2 : -Infinity
    })
  }

  #giveUp (): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#holding.heldUntil = -Infinity
    return this.#inTurn(async () => {
      const { mayStand, writes, users } = this.#holding
      // A write that began meanwhile needs it.
      if (!mayStand || (writes > 0 && users.size > 0)) return
      this.#holding.heldUntil = -Infinity
      this.#holding.mayStand = false
      await this.#connection.script(giveBackScript, [this.#connection.keys.claim], this.#mine)
    })
  }

  #inTurn (work: () => Promise<void>): Promise<void> {
    const done = this.#holding.turn.then(work)
    this.#holding.turn = done.catch(() => {})
    return done
  }

  /** @param hadDocuments when the question was sent */
  #see (held: string, hadDocuments: boolean): void {
    this.#holding.foreign = held
    if (held !== '' && hadDocuments) this.#holding.lostTo = held
  }

  #checkForeign (): void {
    const { foreign, lostTo } = this.#holding
    if (lostTo !== '') throw new FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE(`${placeOf(lostTo)}, or were (this one stood still meanwhile, and has older ones until it is restarted)`)
    if (foreign !== '') throw new FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE(placeOf(foreign))
  }
}

const placeOf = (claim: string): string => claim.slice(claim.indexOf(' ') + 1)
const isOfDead = (claim: string): boolean => claim !== '' && isDead(placeOf(claim))
