import type { RedisLink } from '@jpulse/redis-link'
import * as fc from 'fast-check'
import { EventEmitter } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { BackedStore } from '../src/backup/backed-store.ts'
import type { SessionBackup } from '../src/backup/backup.ts'
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
  override replace (ref: SessionRef, version: string, payload: string, lifetimes?: Lifetimes, isSeen?: boolean) { return this.#ask(() => super.replace(ref, version, payload, lifetimes, isSeen)) }
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

t.test('outages and recoveries in any order, with answers that are lost: nothing that was logged out is back', () => holds(['away', 'lossy', 'up'], inOrder, 300))

t.test('outages and recoveries in any order, with commands that overtake each other: nothing that was logged out is back, nothing else is lost', () => holds(['away', 'up'], overtaking, 500))

t.test('outages and recoveries in any order, with lost answers and commands that overtake each other: nothing that was logged out is back', () => holds(['away', 'lossy', 'up'], overtaking, 500))

t.test('orders of events that once brought a session back or lost one: each holds', async (t) => {
  const cases: Array<[what: string, ways: Ways, steps: Act[]]> = [
    ['a logout overtakes the session that is moved', { lags: [1, 1, 4, 1, 1, 1], refusesMs: 0 },
      [state('away'), login(0), state('up'), turns(1), logout(0)]],
    ['the watermark overtakes the session that outlives it', { lags: [0, 3, 1, 1], refusesMs: 0 },
      [state('away'), login(0), state('up'), logoutAll(0, 0)]],
    ['a session is logged out elsewhere after its move got no answer', { lags: [1], refusesMs: 0 },
      [state('away'), login(0), state('lossy'), turns(4), state('up'), elsewhere(0), retry]],
    ['a session is logged out elsewhere after its move got no answer, where Redis has tombstones', { lags: [1], refusesMs: 60_000 },
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

/** A Redis whose commands do what a test says before they are carried out. */
class Scripted extends MemoryStore {
  override readonly mode = 'redis' as never
  isAway = true
  readonly creates: string[] = []
  before: { create?: (ref: SessionRef) => unknown, remove?: () => unknown, removeAll?: () => unknown } = {}

  constructor () {
    super(LIFETIMES)
  }

  override read (ref: SessionRef) { return this.#answer(() => super.read(ref)) }
  override replace (ref: SessionRef, version: string, payload: string, lifetimes?: Lifetimes, isSeen?: boolean) { return this.#answer(() => super.replace(ref, version, payload, lifetimes, isSeen)) }

  override async create (ref: SessionRef, payload: string, origin?: Origin, lifetimes?: Lifetimes) {
    this.creates.push(ref.hash)
    await this.before.create?.(ref)
    return this.#answer(() => super.create(ref, payload, origin, lifetimes))
  }

  override async remove (ref: SessionRef) {
    await this.before.remove?.()
    return this.#answer(() => super.remove(ref))
  }

  override async removeAll (tag: string, options?: EndAllOptions) {
    await this.before.removeAll?.()
    return this.#answer(() => super.removeAll(tag, options))
  }

  #answer<T> (command: () => Promise<T>): Promise<T> {
    return this.isAway ? Promise.reject(unavailable(new Error('away'))) : command()
  }
}

/** An outage with policy memory, told to the store by a read, and its end. */
async function outage (about: object = {}, behind = (redis: Scripted): SessionStore => redis) {
  const redis = new Scripted()
  const link = Object.assign(new EventEmitter(), { isUp: true, ping: async () => { if (redis.isAway) throw new Error('away') } })
  const store = new FallbackStore(behind(redis), link as unknown as RedisLink, LIFETIMES, { ...log as object, ...about } as never, 60_000)
  const tag = tagOf('u')
  const newRef = () => refOf(newId(tag))!
  await store.read(newRef())
  const logIn = async (ref = newRef()) => { await store.create(ref, 'p'); return ref }
  const recover = async () => {
    redis.isAway = false
    for (let turns = 0; store.mode === 'memory' && turns < 1000; turns++) {
      link.emit('up')
      await turn()
    }
  }
  return { redis, link, store, tag, newRef, logIn, recover }
}

const gate = () => {
  let open = () => {}
  const passed = new Promise<void>((resolve) => { open = resolve })
  return { open, passed }
}

t.test('a session that changes while it is moved is made in Redis once', async (t) => {
  const { redis, store, logIn, recover } = await outage()
  const ref = await logIn()
  redis.before.create = async () => { await store.replace(ref, (await store.read(ref))!.version, 'changed') }
  await recover()
  t.equal((await redis.read(ref))?.payload, 'changed')
  t.same(redis.creates, [ref.hash])
  await store.close()
})

t.test('a session that outlives a logout of the others is above its watermark, however long the command takes', async (t) => {
  for (const when of ['in the outage', 'in the recovery']) {
    const { redis, store, tag, logIn, recover } = await outage()
    const [kept, other] = [await logIn(), await logIn()]
    redis.before.removeAll = () => { now += 200 }
    if (when === 'in the outage') await store.removeAll(tag, { except: kept })
    else {
      redis.before.create = async () => {
        redis.before = { removeAll: redis.before.removeAll! }
        await store.removeAll(tag, { except: kept })
      }
    }
    await recover()
    t.ok(await store.read(kept), when)
    t.notOk(await store.read(other), when)
    await store.close()
  }
})

t.test('a login right after a logout-all of the outage stays, though Redis is told of both later', async (t) => {
  const { redis, store, tag, logIn, recover } = await outage()
  const before = await logIn()
  await store.removeAll(tag)
  now += 1
  const after = await logIn()
  redis.before.removeAll = () => { now += 20 }
  await recover()
  t.ok(await store.read(after))
  t.notOk(await store.read(before))
  await store.close()
})

t.test('a session that could not be sent, because the link was down again, is made later', async (t) => {
  const { redis, link, store, logIn, recover } = await outage()
  const ref = await logIn()
  redis.isAway = false
  link.isUp = false
  link.emit('up')
  for (let turns = 0; turns < 20; turns++) await turn()
  t.same(redis.creates, [], 'nothing was sent')
  redis.before.create = () => {}
  now += 40_000
  link.isUp = true
  await recover()
  t.ok(await redis.read(ref))
  await store.close()
})

t.test('a Redis that is back and takes nothing is one warning, however often it is tried', async (t) => {
  const warned: string[] = []
  const { redis, link, store, logIn } = await outage({ warn: (_details: object, text: string) => { warned.push(text) } })
  await logIn()
  redis.isAway = false
  redis.before.create = () => { throw unavailable(new Error('OOM command not allowed')) }
  for (let round = 0; round < 3; round++) {
    link.emit('up')
    for (let turns = 0; turns < 20; turns++) await turn()
  }
  t.equal(store.mode, 'memory')
  t.match(warned, [/kept in this process/, /Redis is back, but cannot be told/])
  t.equal(warned.length, 2)
  await store.close()
})

t.test('a login right after a logout-all of an outage is above its mark in the backup, which is as late as Redis\' clock may have been', async (t) => {
  for (const tries of [1, 2]) {
    const marks: number[] = []
    let offByMs = 300
    const backup = { get: async () => null, isEnded: async () => false, put: async () => {}, endAll: async (_tag: string, mark: number) => { marks.push(mark) } }
    const reconciler = { markDirty: async () => {}, isComplete: async () => true }
    const { redis, link, store, tag, logIn, recover } = await outage({}, (redis) => {
      const primary = Object.assign(redis, { latest: () => redis.now() + offByMs })
      return new BackedStore(primary, backup as unknown as SessionBackup, reconciler, LIFETIMES, log, async () => {})
    })
    await store.removeAll(tag)
    now += 55
    const ref = await logIn()
    now += 1000
    if (tries === 2) {
      redis.isAway = false
      redis.before.removeAll = () => { throw unavailable(new Error('away again')) }
      offByMs = 900
      link.emit('up')
      await turn()
      redis.before = {}
    }
    await recover()
    t.equal(marks.length, 1 + tries)
    t.ok((await redis.read(ref))!.stamp > Math.max(...marks), `at try ${tries}`)
    await store.close()
  }
})

t.test('a login that falls back to the process while its session is logged out is logged out', async (t) => {
  const { redis, store, newRef, recover } = await outage()
  await recover()
  const ref = newRef()
  const [create, remove] = [gate(), gate()]
  redis.before = { create: () => create.passed, remove: () => remove.passed }
  const login = store.create(ref, 'p')
  const logout = store.remove(ref)
  redis.isAway = true
  create.open()
  await login
  remove.open()
  await logout
  redis.before = {}
  t.notOk(await store.read(ref), 'in the outage')
  await recover()
  t.notOk(await redis.read(ref), 'and after it')
  await store.close()
})

t.test('a session that is on its way to Redis when a logout-all fails is logged out there', async (t) => {
  const { redis, link, store, tag, logIn } = await outage()
  const [create, removeAll] = [gate(), gate()]
  const reached = gate()
  redis.isAway = false
  redis.before.removeAll = async () => {
    await removeAll.passed
    throw unavailable(new Error('no answer'))
  }
  // Sent in time, and late: Redis shifts its stamp by what the command took.
  redis.before.create = async () => {
    reached.open()
    await create.passed
    now += 300
  }
  const logout = store.removeAll(tag)
  now += 100
  const ref = await logIn()
  link.emit('up')
  await reached.passed
  removeAll.open()
  await logout
  redis.before = {}
  create.open()
  for (let turns = 0; store.mode === 'memory' && turns < 1000; turns++) {
    link.emit('up')
    await turn()
  }
  t.notOk(await redis.read(ref))
  await store.close()
})

t.test('a change to a session that is in Redis is refused while that is away, and lifetimes of a login go there with it', async (t) => {
  const { redis, store, newRef, logIn, recover } = await outage()
  const own = { idleTimeoutMs: 5000, absoluteTimeoutMs: 6000 }
  const short = newRef()
  await store.create(short, 'p', undefined, own)
  await recover()
  t.same(redis.lifetimesOf(short), own)
  const ref = await logIn()
  const { version } = (await store.read(ref))!
  redis.isAway = true
  await t.rejects(store.replace(ref, version, 'x'), { code: 'FST_ERR_REDIS_SESSIONS_UNAVAILABLE' })
  await store.close()
})

t.test('while sessions are moved, what is logged out is out at once, and each session is listed once', async (t) => {
  for (const all of [false, true]) {
    const { redis, link, store, tag, logIn, recover } = await outage()
    await recover()
    const [old, kept] = [await logIn(), await logIn()]
    redis.isAway = true
    await store.remove(old)
    const made = await logIn()
    const [create, remove, reached] = [gate(), gate(), gate()]
    redis.isAway = false
    redis.before.remove = () => remove.passed
    redis.before.create = async () => {
      reached.open()
      await create.passed
    }
    link.emit('up')
    await turn()
    t.same((await store.list(tag)).map(({ ref }) => ref.hash).toSorted(), [kept.hash, made.hash].toSorted(), 'the logout was not told yet')
    remove.open()
    await reached.passed
    await MemoryStore.prototype.create.call(redis, made, 'p')
    t.equal((await store.list(tag)).length, 2, 'it is here and there')
    redis.before = {}
    await (all ? store.removeAll(tag) : store.remove(made))
    t.notOk(await store.read(made))
    create.open()
    await recover()
    t.notOk(await redis.read(made))
    t.equal(await redis.read(kept) === null, all)
    await store.close()
  }
})

t.test('a login that falls back to the process while a logout-all of its user fails is logged out', async (t) => {
  const { redis, store, tag, newRef, recover } = await outage()
  await recover()
  const ref = newRef()
  const [create, removeAll] = [gate(), gate()]
  redis.before = { create: () => create.passed, removeAll: () => removeAll.passed }
  const [login, logout] = [store.create(ref, 'p'), store.removeAll(tag)]
  redis.isAway = true
  create.open()
  await login
  removeAll.open()
  await logout
  t.notOk(await store.read(ref))
  await store.close()
})
