import type { RedisLink } from '@jpulse/redis-link'
import * as fc from 'fast-check'
import { EventEmitter } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { unavailable } from '../src/errors.ts'
import { FallbackStore } from '../src/stores/fallback-store.ts'
import { newId, refOf, tagOf, type SessionRef } from '../src/stores/ids.ts'
import { MemoryStore } from '../src/stores/memory-store.ts'
import type { EndAllOptions, Lifetimes, Origin, SessionStore } from '../src/stores/store.ts'

// Policy memory against a small model: whatever happens in whatever order, what was logged out is out, and what was not is in.

const LIFETIMES = { idleTimeoutMs: 600_000, absoluteTimeoutMs: 6_000_000 }

/** The only clock of the test: what follows is later by more than clocks are exact to. */
let now = 1_800_000_000_000
const { now: dateNow } = Date
const performanceNow = performance.now.bind(performance)
t.before(() => {
  Date.now = () => now
  performance.now = () => now
})
t.teardown(() => {
  Date.now = dateNow
  performance.now = performanceNow
})

/** How the commands travel: turns of the event loop, there and back by turns, and whether ended sessions leave tombstones. */
interface Ways { lags: number[], refusesMs: number }

/** A Redis that can be away, whose answers can be lost, and whose commands may overtake each other. */
class FakeRedis extends MemoryStore {
  override readonly mode = 'redis' as never
  isAway = false
  losesAnswers = false
  /** Sessions of which the store cannot know whether Redis took them: in a move, and in a login. */
  readonly doubtful = { moves: new Set<string>(), logins: new Set<string>() }
  readonly #ways: Ways
  readonly #tombstones = new Set<string>()
  #trips = 0

  constructor (ways: Ways) {
    super(LIFETIMES)
    this.#ways = ways
  }

  override read (ref: SessionRef) { return this.#ask(() => super.read(ref)) }
  override replace (ref: SessionRef, version: string, payload: string, lifetimes?: Lifetimes) { return this.#ask(() => super.replace(ref, version, payload, lifetimes)) }
  override removeAll (tag: string, options?: EndAllOptions) { return this.#ask(() => super.removeAll(tag, options)) }
  override list (tag: string) { return this.#ask(() => super.list(tag)) }

  override async create (ref: SessionRef, payload: string, origin?: Origin, lifetimes?: Lifetimes) {
    const wasAway = this.isAway
    try {
      return await this.#ask(async () => this.#tombstones.has(ref.hash) ? null : super.create(ref, payload, origin, lifetimes))
    } catch (err) {
      if (origin !== undefined && !wasAway) this.doubtful.moves.add(ref.hash)
      if (origin === undefined && this.get(ref) !== null) this.doubtful.logins.add(ref.hash)
      throw err
    }
  }

  override remove (ref: SessionRef) {
    return this.#ask(() => {
      if (this.#ways.refusesMs > 0) this.#tombstones.add(ref.hash)
      return super.remove(ref)
    })
  }

  async #ask<T> (command: () => Promise<T>): Promise<T> {
    await this.#trip()
    if (this.isAway) throw unavailable(new Error('away'))
    const answer = await command()
    // The answer is on its way.
    await this.#trip()
    if (this.losesAnswers) throw unavailable(new Error('the answer was lost'))
    return answer
  }

  async #trip (): Promise<void> {
    const { lags } = this.#ways
    for (let left = lags[this.#trips++ % lags.length]!; left > 0; left--) await turn()
  }
}

class FakeLink extends EventEmitter {
  readonly #redis: FakeRedis
  constructor (redis: FakeRedis) {
    super()
    this.#redis = redis
  }

  get isUp (): boolean { return !this.#redis.isAway }
  async ping (): Promise<void> { if (this.#redis.isAway) throw new Error('away') }
}

interface Known { ref: SessionRef, user: number, payload: string, isAlive: boolean, endedElsewhere?: true }

const log = { info () {}, warn () {}, error () {}, debug () {} } as never

/** The store, the Redis behind it, and what must be true of them. */
class World {
  readonly redis: FakeRedis
  readonly link: FakeLink
  readonly store: SessionStore
  readonly sessions: Known[] = []
  readonly #refusesMs: number
  #payloads = 0

  constructor (ways: Ways) {
    this.#refusesMs = ways.refusesMs
    this.redis = new FakeRedis(ways)
    this.link = new FakeLink(this.redis)
    this.store = new FallbackStore(this.redis, this.link as unknown as RedisLink, LIFETIMES, log, ways.refusesMs)
  }

  async create (user: number): Promise<void> {
    const ref = refOf(newId(tagOf(`u${user}`)))!
    const payload = `p${this.#payloads++}`
    if (await this.store.create(ref, payload) === null) throw new Error('a login was refused')
    this.sessions.push({ ref, user, payload, isAlive: true })
  }

  /** Reads, and writes where it is there. */
  async write (index: number): Promise<void> {
    const session = this.#at(index)
    if (session === undefined) return
    const read = await this.read(session)
    if (read === null) return
    const payload = `p${this.#payloads++}`
    try {
      const { outcome } = await this.store.replace(session.ref, read.version, payload)
      if (outcome === 'saved') session.payload = payload
    } catch (err) {
      // Refused, and not lost: it is in Redis, which is away. An answer that was lost says neither.
      if ((err as { statusCode?: number }).statusCode !== 503) throw err
      if (this.redis.losesAnswers && await MemoryStore.prototype.read.call(this.redis, session.ref).then((stored) => stored?.payload) === payload) session.payload = payload
    }
  }

  async read (session: Known) {
    const before: string = this.store.mode
    const read = await this.store.read(session.ref)
    // What was logged out elsewhere may be known here until the recovery is done.
    const isKnown = (session.endedElsewhere === true && before === 'memory') || this.#mayBeBack(session)
    if (read !== null && !session.isAlive && !isKnown) throw new Error('a session that was logged out is back')
    if (read === null && session.isAlive && !this.#mayBeLost(session) && before !== 'memory' && this.store.mode !== 'memory') throw new Error('a session is lost')
    if (read !== null && read.payload !== session.payload) throw new Error(`a write is lost: ${read.payload} for ${session.payload}`)
    return read
  }

  async logout (index: number): Promise<void> {
    const session = this.#at(index)
    if (session === undefined) return
    await this.store.remove(session.ref)
    session.isAlive = false
  }

  async logoutAll (user: number, exceptIndex: number): Promise<void> {
    const kept = this.#at(exceptIndex)
    // Only who is known here can press the button.
    const except = kept?.isAlive === true && kept.user === user && await this.store.read(kept.ref) !== null ? kept : undefined
    await this.store.removeAll(tagOf(`u${user}`), except === undefined ? {} : { except: except.ref })
    for (const session of this.sessions) if (session.user === user && session !== except) session.isAlive = false
  }

  /** Another instance, which reads Redis, logs a session out. */
  async logoutElsewhere (index: number): Promise<void> {
    const session = this.#at(index)
    if (session === undefined || this.redis.isAway || this.redis.losesAnswers || this.redis.get(session.ref) === null) return
    if (await this.redis.remove(session.ref) !== null) Object.assign(session, { isAlive: false, endedElsewhere: true })
  }

  turn (what: 'away' | 'lossy' | 'up'): void {
    const wasAway = this.redis.isAway
    this.redis.isAway = what === 'away'
    this.redis.losesAnswers = what === 'lossy'
    if (wasAway && !this.redis.isAway) this.retry()
  }

  /** Now rather than when the timer fires. */
  retry (): void {
    this.link.emit('up')
  }

  async check (): Promise<void> {
    this.turn('up')
    for (let index = 0; this.store.mode === 'memory'; index++) {
      if (index > 10_000) throw new Error('the recovery does not end')
      this.retry()
      await turn()
    }
    for (const session of this.sessions) {
      await this.read(session)
      const there = await this.redis.read(session.ref)
      if (there === null ? this.#mayBeLost(session) : this.#mayBeBack(session)) continue
      if ((there !== null) !== session.isAlive) throw new Error(session.isAlive ? 'a session was not moved' : 'a logout was not carried out')
    }
    await this.store.close()
  }

  /** Rather than that it comes back after a logout elsewhere. */
  #mayBeLost ({ ref }: Known): boolean {
    return this.#refusesMs === 0 && this.redis.doubtful.moves.has(ref.hash)
  }

  /** A login that Redis took without an answer, and that was logged out elsewhere: a Redis without tombstones does not tell. */
  #mayBeBack ({ ref, endedElsewhere }: Known): boolean {
    return this.#refusesMs === 0 && endedElsewhere === true && this.redis.doubtful.logins.has(ref.hash)
  }

  #at (index: number): Known | undefined {
    return this.sessions[index % Math.max(1, this.sessions.length)]
  }
}

type Step = (world: World) => Promise<void> | void

interface Act { text: string, run: Step }

const login = (user: number): Act => ({ text: `login of ${user}`, run: (world) => world.create(user) })
const write = (index: number): Act => ({ text: `write to ${index}`, run: (world) => world.write(index) })
const logout = (index: number): Act => ({ text: `logout of ${index}`, run: (world) => world.logout(index) })
const logoutAll = (user: number, index: number): Act => ({ text: `logout of all of ${user} but ${index}`, run: (world) => world.logoutAll(user, index) })
const elsewhere = (index: number): Act => ({ text: `logout of ${index} elsewhere`, run: (world) => world.logoutElsewhere(index) })
const state = (what: 'away' | 'lossy' | 'up'): Act => ({ text: what, run: (world) => world.turn(what) })
const retry: Act = { text: 'retry', run: (world) => world.retry() }
const turns = (count: number): Act => ({ text: `${count} turns`, run: async () => { for (let each = 0; each < count; each++) await turn() } })

const index = fc.nat(30)
const user = fc.nat(1)
const step = (...states: Array<'away' | 'lossy' | 'up'>): fc.Arbitrary<Act> => fc.oneof(
  { weight: 4, arbitrary: user.map(login) },
  { weight: 4, arbitrary: index.map(write) },
  { weight: 3, arbitrary: index.map(logout) },
  { weight: 2, arbitrary: fc.tuple(user, index).map(([user, index]) => logoutAll(user, index)) },
  { weight: 2, arbitrary: index.map(elsewhere) },
  { weight: 3, arbitrary: fc.constantFrom(...states).map(state) },
  { weight: 1, arbitrary: fc.constant(retry) },
  { weight: 2, arbitrary: fc.nat(4).map(turns) }
)

async function play (steps: Act[], ways: Ways): Promise<void> {
  const world = new World(ways)
  for (const { run } of steps) {
    now += 5
    await run(world)
  }
  now += 5
  await world.check()
}

const inOrder = fc.constant<number[]>([1])
const overtaking = fc.array(fc.nat(4), { minLength: 1, maxLength: 9 })
const refusesMs = fc.constantFrom(0, 60_000)

async function holds (states: Array<'away' | 'lossy' | 'up'>, lags: fc.Arbitrary<number[]>, numRuns: number): Promise<void> {
  const ways = fc.record({ lags, refusesMs })
  await fc.assert(fc.asyncProperty(fc.array(step(...states), { maxLength: 40 }), ways, play), {
    numRuns,
    reporter: ({ failed, counterexample, errorInstance, seed }) => {
      if (!failed) return
      const [steps, ways] = counterexample!
      throw new Error(`${String(errorInstance)}: ${steps.map(({ text }) => text).join('; ')} (${JSON.stringify(ways)}, seed ${seed})`)
    }
  })
}

t.test('outages and recoveries in any order: nothing that was logged out is back, nothing else is lost', () => holds(['away', 'up'], inOrder, 300))

t.test('and with answers that are lost: nothing that was logged out is back', () => holds(['away', 'lossy', 'up'], inOrder, 300))

t.test('and with commands that overtake each other', () => holds(['away', 'up'], overtaking, 500))

t.test('and with both', () => holds(['away', 'lossy', 'up'], overtaking, 500))

t.test('in this order, too', async (t) => {
  const cases: Array<[what: string, ways: Ways, steps: Act[]]> = [
    ['a logout overtakes the session that is moved', { lags: [1, 1, 4, 1, 1, 1], refusesMs: 0 },
      [state('away'), login(0), state('up'), turns(1), logout(0)]],
    ['the watermark overtakes the session that outlives it', { lags: [0, 3, 1, 1], refusesMs: 0 },
      [state('away'), login(0), state('up'), logoutAll(0, 0)]],
    ['a session is logged out elsewhere after its move got no answer', { lags: [1], refusesMs: 0 },
      [state('away'), login(0), state('lossy'), turns(4), state('up'), elsewhere(0), retry]],
    ['so too where Redis has tombstones', { lags: [1], refusesMs: 60_000 },
      [state('away'), login(0), state('lossy'), turns(4), state('up'), elsewhere(0), retry]],
    ['a session is moved, changed before the answer, and logged out elsewhere', { lags: [0, 0, 0, 9, 1], refusesMs: 0 },
      [state('away'), login(0), state('up'), turns(1), write(0), elsewhere(0)]]
  ]
  for (const [what, ways, steps] of cases) {
    for (let first = 0; first < ways.lags.length; first++) {
      const lags = [...ways.lags.slice(first), ...ways.lags.slice(0, first)]
      await t.resolves(play(steps, { ...ways, lags }), `${what} (${lags.join()})`)
    }
  }
})
