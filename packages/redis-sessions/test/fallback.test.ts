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

/** A Redis that can be away, whose answers can be lost, and that takes two turns of the event loop for each command. */
class FakeRedis extends MemoryStore {
  override readonly mode = 'redis' as never
  isAway = false
  losesAnswers = false

  override read (ref: SessionRef) { return this.#ask(() => super.read(ref)) }
  override create (ref: SessionRef, payload: string, origin?: Origin, lifetimes?: Lifetimes) { return this.#ask(() => super.create(ref, payload, origin, lifetimes)) }
  override replace (ref: SessionRef, version: string, payload: string, lifetimes?: Lifetimes) { return this.#ask(() => super.replace(ref, version, payload, lifetimes)) }
  override remove (ref: SessionRef) { return this.#ask(() => super.remove(ref)) }
  override removeAll (tag: string, options?: EndAllOptions) { return this.#ask(() => super.removeAll(tag, options)) }
  override list (tag: string) { return this.#ask(() => super.list(tag)) }

  /** In the order of a connection. */
  async #ask<T> (command: () => Promise<T>): Promise<T> {
    await turn()
    if (this.isAway) throw unavailable(new Error('away'))
    const answer = await command()
    // The answer is on its way.
    await turn()
    if (this.losesAnswers) throw unavailable(new Error('the answer was lost'))
    return answer
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

interface Known { ref: SessionRef, user: number, payload: string, isAlive: boolean }

const log = { info () {}, warn () {}, error () {}, debug () {} } as never

/** The store, the Redis behind it, and what must be true of them. */
class World {
  readonly redis = new FakeRedis(LIFETIMES)
  readonly link = new FakeLink(this.redis)
  readonly store: SessionStore = new FallbackStore(this.redis, this.link as unknown as RedisLink, LIFETIMES, log)
  readonly sessions: Known[] = []
  #payloads = 0

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
    if (read !== null && !session.isAlive) throw new Error('a session that was logged out is back')
    if (read === null && session.isAlive && before !== 'memory' && this.store.mode !== 'memory') throw new Error('a session is lost')
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
    if (session === undefined || this.redis.isAway || this.redis.losesAnswers) return
    if (await this.redis.remove(session.ref) !== null) session.isAlive = false
  }

  turn (what: 'away' | 'lossy' | 'up'): void {
    this.redis.isAway = what === 'away'
    this.redis.losesAnswers = what === 'lossy'
    if (what === 'up') this.link.emit('up')
  }

  async check (): Promise<void> {
    this.turn('up')
    for (let index = 0; this.store.mode === 'memory'; index++) {
      if (index > 10_000) throw new Error('the recovery does not end')
      this.link.emit('up')
      await turn()
    }
    for (const session of this.sessions) {
      await this.read(session)
      const there = await this.redis.read(session.ref)
      if ((there !== null) !== session.isAlive) throw new Error(session.isAlive ? 'a session was not moved' : 'a logout was not carried out')
    }
    await this.store.close()
  }

  #at (index: number): Known | undefined {
    return this.sessions[index % Math.max(1, this.sessions.length)]
  }
}

type Step = (world: World) => Promise<void> | void

const index = fc.nat(30)
const user = fc.nat(1)
const step = (...states: Array<'away' | 'lossy' | 'up'>): fc.Arbitrary<{ text: string, run: Step }> => fc.oneof(
  { weight: 4, arbitrary: user.map((user) => ({ text: `login of ${user}`, run: (world: World) => world.create(user) })) },
  { weight: 4, arbitrary: index.map((index) => ({ text: `write to ${index}`, run: (world: World) => world.write(index) })) },
  { weight: 3, arbitrary: index.map((index) => ({ text: `logout of ${index}`, run: (world: World) => world.logout(index) })) },
  { weight: 2, arbitrary: fc.tuple(user, index).map(([user, index]) => ({ text: `logout of all of ${user} but ${index}`, run: (world: World) => world.logoutAll(user, index) })) },
  { weight: 1, arbitrary: index.map((index) => ({ text: `logout of ${index} elsewhere`, run: (world: World) => world.logoutElsewhere(index) })) },
  { weight: 3, arbitrary: fc.constantFrom(...states).map((state) => ({ text: state, run: (world: World) => world.turn(state) })) },
  { weight: 2, arbitrary: fc.nat(4).map((count) => ({ text: `${count} turns`, run: async () => { for (let each = 0; each < count; each++) await turn() } })) }
)

async function play (steps: Array<{ text: string, run: Step }>): Promise<void> {
  const world = new World()
  for (const { run } of steps) {
    now += 5
    await run(world)
  }
  now += 5
  await world.check()
}

const name = (steps: Array<{ text: string }>) => steps.map(({ text }) => text).join('; ')

t.test('outages and recoveries in any order: nothing that was logged out is back, nothing else is lost', async () => {
  await fc.assert(fc.asyncProperty(fc.array(step('away', 'up'), { maxLength: 40 }), play), {
    numRuns: 500, reporter: (details) => { if (details.failed) throw new Error(`${String(details.errorInstance)}: ${name(details.counterexample![0])} (seed ${details.seed})`) }
  })
})

t.test('and with answers that are lost: nothing that was logged out is back', async () => {
  await fc.assert(fc.asyncProperty(fc.array(step('away', 'lossy', 'up'), { maxLength: 40 }), play), {
    numRuns: 300, reporter: (details) => { if (details.failed) throw new Error(`${String(details.errorInstance)}: ${name(details.counterexample![0])} (seed ${details.seed})`) }
  })
})
