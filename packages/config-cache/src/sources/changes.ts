import { setTimeout as sleep } from 'node:timers/promises'
import { Type } from 'typebox'
import { callback, callSafely, opaque, textOf } from '@jpulse/plugin-kit'
import { checkerOf } from '../checks.ts'
import { FST_ERR_CONFIG_CACHE_UNCONFIRMED, FST_ERR_CONFIG_CACHE_UNDECIDED, FST_ERR_CONFIG_CACHE_UNREACHABLE } from '../errors.ts'
import { listOf, MAX_TAGS, type Names } from '../names.ts'
import { now } from '../time.ts'

/** What is read of an event of a change stream: see MongoDB's manual, "Change Events". */
export interface Change {
  /** The resume token. */
  readonly _id: unknown
  readonly operationType: string
  readonly documentKey?: Readonly<Record<string, unknown>>
  readonly fullDocument?: Readonly<Record<string, unknown>> | null
}

/** What is needed of the driver's `ChangeStream`. */
export interface Changes {
  readonly resumeToken: unknown
  tryNext (): Promise<Change | null>
  next (): Promise<Change>
  /** How many changes are at hand without asking the server, which would wait for one. */
  bufferedCount (): number
  close (): Promise<void>
}

/** What is needed of the driver's `Collection`, `Db` or `MongoClient`. */
export interface Watched {
  watch (pipeline: object[], options: object): Changes
}

export interface WatchOptions {
  /** What everything bears that depends on what is watched: dropped when watching begins, and where changes may have been missed. A text is one tag. */
  all: Names
  /** What a change touches; nothing, null or an error, which `onState` hears, means `all`. Called with each change, in their order. @default `all` */
  tags?: ((change: Change) => Names | null | undefined) | undefined
  /** Stages before the changes, such as a `$match`. It must not hide `_id` and `operationType`. @default none */
  pipeline?: object[] | undefined
  /** Hears whether changes are heard, and if not why. @default a warning of the process (`process.emitWarning`) where they are not, once until they are again, and of the first error of `tags` */
  onState?: ((state: WatchState, err?: unknown) => void) | undefined
}

/** `watching`: changes are heard. `behind`: the stream broke, or the cache refuses writes; what changes now is dropped later. */
export type WatchState = 'watching' | 'behind'

export interface Watcher {
  readonly state: WatchState
  /** Ends it. */
  close (): Promise<void>
}

const check = checkerOf(Type.Object({
  all: Type.Unknown(),
  tags: Type.Optional(callback<NonNullable<WatchOptions['tags']>>()),
  pipeline: Type.Optional(opaque<object[]>('an array of stages', Array.isArray)),
  onState: Type.Optional(callback<NonNullable<WatchOptions['onState']>>())
}, { additionalProperties: false }))

/** Errors after which a token is of no use: InvalidResumeToken, ChangeStreamFatalError, ChangeStreamHistoryLost. */
const LOST = new Set([260, 280, 286])
/** After them the stream ends; only `startAfter` resumes behind an `invalidate`. */
const ENDS_ALL = new Set(['drop', 'rename', 'dropDatabase', 'invalidate'])
const MAX_BATCH = 100
const PAUSES_MS = [100, 250, 500, 1000, 2000, 5000]

/**
 * Drops what depends on a collection when somebody changes it behind the cache: a batch job, another program, a shell. Resolves
 * when the stream stands and everything from before it is dropped. One instance is enough; several do no harm.
 *
 * It makes a change visible when MongoDB has told of it, a moment after a majority has it, and never misses one: where the server
 * knows the place no more, everything is dropped. It does not make others' writes coherent: between their commit and the event a read may be old.
 *
 * @param cache `fastify.configCache`
 * @throws FST_ERR_CONFIG_CACHE_INVALID_OPTION, FST_ERR_CONFIG_CACHE_INVALID_KEY; what MongoDB says where there can be no stream, as on a server without replicas
 */
export async function watchChanges (cache: { invalidate (tags: Names): Promise<void> }, watched: Watched, options: WatchOptions): Promise<Watcher> {
  const watch = new Watch(cache, watched, check(options) as WatchOptions)
  await watch.start()
  return watch
}

class Watch implements Watcher {
  readonly #cache: { invalidate (tags: Names): Promise<void> }
  readonly #watched: Watched
  readonly #options: WatchOptions
  readonly #all: readonly string[]
  #stream: Changes | undefined
  /** Where the stream resumes; undefined where `all` has to be dropped first. */
  #resumePoint: { resumeAfter: unknown } | { startAfter: unknown } | undefined
  #state: WatchState = 'behind'
  #hasWarned = false
  #hasWarnedOfTags = false
  readonly #closing = new AbortController()
  #running: Promise<void> = Promise.resolve()

  constructor (cache: { invalidate (tags: Names): Promise<void> }, watched: Watched, options: WatchOptions) {
    this.#cache = cache
    this.#watched = watched
    this.#options = options
    this.#all = listOf('A tag', options.all)
    if (this.#all.length === 0) listOf('A tag', [''])
  }

  get state (): WatchState {
    return this.#state
  }

  async start (): Promise<void> {
    try {
      await this.#open()
    } catch (err) {
      await this.#end()
      // A cache that refuses writes serves nothing either; that there can be no stream is for who asked for one.
      if (!isRefusedByCache(err)) throw err
      this.#setState('behind', err)
    }
    this.#running = this.#run()
  }

  async close (): Promise<void> {
    this.#closing.abort()
    await this.#end()
    await this.#running
  }

  async #run (): Promise<void> {
    const { signal } = this.#closing
    for (let failures = 0; !signal.aborted;) {
      const stream = this.#stream
      const since = now()
      try {
        if (stream === undefined) await this.#open()
        else {
          await this.#follow(stream)
          failures = 0
        }
      } catch (err) {
        if (signal.aborted) return
        // One that opens and breaks at once, again and again, is tried less and less often; one that stood for a while is not.
        if (stream !== undefined && now() - since >= PAUSES_MS.at(-1)!) failures = 0
        if (LOST.has(Number((err as { code?: unknown }).code))) this.#resumePoint = undefined
        this.#setState('behind', err)
        await this.#end()
        await sleep(PAUSES_MS[Math.min(failures++, PAUSES_MS.length - 1)]!, undefined, { signal }).catch(() => {})
      }
    }
  }

  async #open (): Promise<void> {
    const stream = this.#watched.watch(this.#options.pipeline ?? [], { ...this.#resumePoint })
    this.#stream = stream
    // The first look sends the command: from then on no change is missed. What was read before it may be old.
    const first = await stream.tryNext()
    if (this.#resumePoint === undefined) {
      await this.#cache.invalidate(this.#all)
      if (first === null && stream.resumeToken !== undefined) this.#resumePoint = { resumeAfter: stream.resumeToken }
    }
    if (first !== null) await this.#apply(stream, first)
    this.#setState('watching')
  }

  async #follow (stream: Changes): Promise<void> {
    let change: Change
    try {
      change = await stream.next()
    } catch (err) {
      // Whatever was handed out before has been applied.
      if (stream.resumeToken !== undefined) this.#resumePoint = { resumeAfter: stream.resumeToken }
      throw err
    }
    await this.#apply(stream, change)
  }

  /** Drops what a change and those right behind it touch. Only then the place moves on: a failure here has them told again. */
  async #apply (stream: Changes, first: Change): Promise<void> {
    const changes = [first]
    let last = first
    while (changes.length < MAX_BATCH && last.operationType !== 'invalidate' && stream.bufferedCount() > 0) changes.push(last = await stream.next())
    await this.#cache.invalidate(this.#touchedBy(changes))
    const isEnd = last.operationType === 'invalidate'
    this.#resumePoint = isEnd ? { startAfter: last._id } : { resumeAfter: last._id }
    if (isEnd) await this.#end()
  }

  #touchedBy (changes: readonly Change[]): readonly string[] {
    const touched = new Set<string>()
    for (const change of changes) {
      for (const tag of ENDS_ALL.has(change.operationType) ? this.#all : this.#tagsOf(change)) touched.add(tag)
    }
    return touched.size > MAX_TAGS ? this.#all : [...touched]
  }

  #tagsOf (change: Change): readonly string[] {
    try {
      const tags = listOf('A tag', this.#options.tags?.(change))
      return tags.length === 0 ? this.#all : tags
    } catch (err) {
      if (this.#options.onState !== undefined) this.#setState(this.#state, err)
      else if (!this.#hasWarnedOfTags) this.#warn('tags of a change stream', 'failed, and everything that the stream covers was dropped', err)
      this.#hasWarnedOfTags = true
      return this.#all
    }
  }

  async #end (): Promise<void> {
    const stream = this.#stream
    this.#stream = undefined
    await stream?.close().catch(() => {})
  }

  #setState (state: WatchState, err?: unknown): void {
    if (state === this.#state && err === undefined) return
    this.#state = state
    if (this.#options.onState !== undefined) return callSafely(() => {}, this.#options.onState, state, err)
    if (state === 'behind' && !this.#hasWarned) this.#warn('a change stream', 'is behind, and what it covers may be read old', err)
    this.#hasWarned = state === 'behind'
  }

  #warn (what: string, problem: string, err: unknown): void {
    process.emitWarning(`${what} of @jpulse/config-cache ${problem}: ${textOf((err as Error | null | undefined)?.message ?? err)}. Pass onState to hear of it`, { code: 'JPULSE_CONFIG_CACHE_CHANGES' })
  }
}

const isRefusedByCache = (err: unknown): boolean =>
  err instanceof FST_ERR_CONFIG_CACHE_UNREACHABLE || err instanceof FST_ERR_CONFIG_CACHE_UNCONFIRMED || err instanceof FST_ERR_CONFIG_CACHE_UNDECIDED
