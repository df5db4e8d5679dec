import { EventEmitter } from 'node:events'
import { acceptOnly } from '@jpulse/plugin-kit'
import type { FastifyRequest, Session } from 'fastify'
import {
  FST_ERR_REDIS_SESSIONS_INVALID_ARGUMENT, FST_ERR_REDIS_SESSIONS_INVALID_USER, FST_ERR_REDIS_SESSIONS_NO_SESSION, FST_ERR_REDIS_SESSIONS_NOT_LOGGED_IN,
  FST_ERR_REDIS_SESSIONS_UNKNOWN_HANDLE
} from './errors.ts'
import { eventOf, type EndReason, type Events, type SessionsEvents } from './events.ts'
import { resolveLogin, type LoginOptions, type ResolvedOptions } from './options.ts'
import { stateOf } from './request/hooks.ts'
import { Operation } from './request/operation.ts'
import type { RequestSession } from './request/request-session.ts'
import { tagOf } from './stores/ids.ts'
import type { SessionStore } from './stores/store.ts'
import { checkNames, fieldsGiven, toJson } from './record/fields.ts'
import type { Loaded, SessionRecords } from './record/session-records.ts'
import { watchSession, type WatchedSession } from './watched-session.ts'

/** A request of any Fastify server, also of HTTP/2. */
export type AnyRequest = Pick<FastifyRequest, 'id' | 'ip'>

type Declared = Omit<Session, 'cookie'>

/** Fields of a session, as the application declares them in the interface `Session` of fastify. */
export type SessionData = keyof Declared extends never ? Record<string, never> : Partial<Declared>

/** A session of a user, to show to that user. */
export interface SessionInfo {
  /** Names the session to `revoke`; tells nothing of its id. */
  handle: string
  /** Milliseconds since 1970. */
  createdAt: number
  /** Milliseconds since 1970, as exact as `touchIntervalMs`. */
  lastSeenAt: number
  /** Address of the request that logged in. */
  ip: string
  /** Of the request that logged in. */
  userAgent: string
  /** Whether it is the session of the request that was given. */
  current: boolean
}

export interface SessionsStats {
  mode: SessionStore['mode']
  /** Stored values met that another configuration or release can read, but this instance cannot: an unknown key, a newer format. */
  unreadable: number
}

const REVOKE_ATTEMPTS = 5
/** A surrogate without its pair. */
const ILL_FORMED = /\p{Surrogate}/u

/** Logs users in and out: `fastify.sessions`. */
export class Sessions extends EventEmitter<SessionsEvents> {
  readonly #records: SessionRecords
  readonly #options: ResolvedOptions
  readonly #events: Events

  constructor (records: SessionRecords, options: ResolvedOptions, events: Events) {
    super()
    this.setMaxListeners(0)
    acceptOnly<SessionsEvents>(this, { created: true, login: true, refused: true, renewed: true, expired: true, ended: true }, (wanted) => new FST_ERR_REDIS_SESSIONS_INVALID_ARGUMENT('The event', wanted))
    this.#records = records
    this.#options = options
    this.#events = events
    events.emitter = this
    records.onExpired(() => events.hasListener('expired'), (meta, expiredAt) => events.emit('expired', { ...eventOf({ meta }), userId: meta.userId!, expiredAt }))
  }

  /** `name` of the registration; '' where it has none. */
  get name (): string {
    return this.#options.name
  }

  /** Where sessions live now: `memory` also while Redis is away and `onUnavailable` is `'memory'`. */
  get mode (): SessionStore['mode'] {
    return this.store.mode
  }

  /** What keeps the sessions. */
  get store (): SessionStore {
    return this.#records.store
  }

  /**
   * Logs a user in: the request gets a new session with a new id, which holds `data` and nothing of the old one; the old one is dead.
   * The end of the request waits for it, awaited or not.
   *
   * @param userId any well-formed string of 1 to 1024 characters
   * @param data fields of the new session
   * @param options lifetimes of this session in place of those of the options
   * @throws FST_ERR_REDIS_SESSIONS_INVALID_USER, _INVALID_OPTION, _RESERVED_FIELD, _NOT_SERIALIZABLE, _TOO_LARGE, _UNAVAILABLE, _REPLY_SENT
   */
  login (request: AnyRequest, userId: string, data: SessionData = {} as SessionData, options: LoginOptions = {}): Promise<void> {
    return attempt(request, (mustState) => {
      checkUser(userId)
      const fields = fieldsGiven(data)
      checkNames(Object.keys(fields))
      // The new session is made only of what can be stored, so that a refusal leaves the old one alone.
      this.#records.check(toJson(fields))
      const own = resolveLogin(options)
      const state = mustState()
      if (state.failure !== null) throw state.failure
      return state.work.login(userId, fields, own, (loaded) => this.#limit(loaded))
    })
  }

  /**
   * Ends the session of the request and clears its cookie. `request.session` is null from here on. Does nothing where there is none.
   *
   * @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE where the logout would not hold
   */
  logout (request: AnyRequest): Promise<void> {
    return attempt(request, (mustState) => mustState().work.logout())
  }

  /** Who is logged in by this request, and the handle of that session; null for an anonymous one. */
  current (request: AnyRequest): { userId: string, handle: string } | null {
    const meta = loadedOf(request)?.meta
    return meta?.userId == null ? null : { userId: meta.userId, handle: meta.handle }
  }

  /**
   * What a client without cookies sends in the option `header` from now on; null where the request has no session that is stored.
   * It is a login: hand it to nobody else.
   */
  token (request: AnyRequest): string | null {
    return loadedOf(request) === null ? null : stateOf(request)!.known.token
  }

  /**
   * Asks the store whether the session that the request came with, or got, is still alive: for connections that outlive their request.
   *
   * @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE
   */
  async isAlive (request: AnyRequest): Promise<boolean> {
    const loaded = loadedOf(request)
    return loaded !== null && await this.#records.open(loaded.ref) !== null
  }

  /**
   * The session that the request came with, or got, for connections that outlive their request; null where it has none.
   *
   * @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE
   */
  watch (request: AnyRequest): WatchedSession | null {
    const loaded = loadedOf(request)
    if (loaded === null) return null
    return watchSession(loaded, { realm: this.name, records: this.#records, events: this.#events, touchIntervalMs: this.#options.touchIntervalMs })
  }

  /**
   * The live sessions of a user, the last seen first.
   *
   * @param request marks its own session as `current`
   * @throws FST_ERR_REDIS_SESSIONS_INVALID_USER, _UNAVAILABLE
   */
  async list (userId: string, request?: AnyRequest): Promise<SessionInfo[]> {
    const own = request === undefined ? undefined : stateOf(request)?.loaded?.ref.hash
    const found = await this.#sessionsOf(userId)
    return found.map(({ ref, stored, meta: { handle, ip, userAgent } }) => ({
      handle, createdAt: stored.createdAt, lastSeenAt: stored.touchedAt, ip, userAgent, current: ref.hash === own
    })).sort((a, b) => b.lastSeenAt - a.lastSeenAt)
  }

  /**
   * Ends one session of a user.
   *
   * @throws FST_ERR_REDIS_SESSIONS_UNKNOWN_HANDLE where the user has none of this handle; _INVALID_USER, _UNAVAILABLE
   */
  async revoke (userId: string, handle: string): Promise<void> {
    for (let attempt = 1; attempt <= REVOKE_ATTEMPTS; attempt++) {
      const found = (await this.#sessionsOf(userId)).find(({ meta }) => meta.handle === handle)
      if (found === undefined) break
      if (await this.#records.end(found.ref, (ended) => this.#emitEnded(ended, 'revoked')) !== null) return
      // It ended, or `regenerate` gave it another id meanwhile: the list tells.
    }
    throw new FST_ERR_REDIS_SESSIONS_UNKNOWN_HANDLE()
  }

  /**
   * Ends all sessions of the request's user but its own. Returns how many were known.
   *
   * @throws FST_ERR_REDIS_SESSIONS_NOT_LOGGED_IN, _UNAVAILABLE
   */
  async logoutOthers (request: AnyRequest): Promise<number> {
    await stateOf(request)?.work.settled()
    const current = this.current(request)
    if (current === null) throw new FST_ERR_REDIS_SESSIONS_NOT_LOGGED_IN()
    const except = loadedOf(request)!.ref
    return this.#records.endAll(except.tag, { except }, (ended) =>
      this.#events.ended({ userId: current.userId, handles: handlesOf(ended), reason: 'logout-others', except: current.handle }))
  }

  /**
   * Ends all sessions of a user that exist now, everywhere, also those that the user's index lost. Returns how many were known.
   *
   * @throws FST_ERR_REDIS_SESSIONS_INVALID_USER, _UNAVAILABLE
   */
  async logoutAll (userId: string): Promise<number> {
    return this.#records.endAll(this.#tagOf(userId), {}, (ended) => this.#events.ended({ userId, handles: handlesOf(ended), reason: 'logout-all' }))
  }

  /** How many sessions are alive, anonymous ones too. Takes time in proportion to the keys of the database: for operators. */
  async count (): Promise<number> {
    return this.store.count()
  }

  stats (): SessionsStats {
    return { mode: this.mode, unreadable: this.#records.unreadable }
  }

  /**
   * Ends the sessions of a user that were seen longest ago, where a login made them too many. Of parallel logins each leaves
   * alone what came after it, which counts it in turn: else they would end each other, and nobody would be logged in.
   */
  async #limit (made: Loaded): Promise<void> {
    const { ref, meta } = made
    const most = this.#options.maxSessionsPerUser
    if (most === 0) return
    const others = this.#records.decodeAll(await this.store.list(ref.tag)).filter((other) => isBefore(other, made))
    const tooMany = others.sort((a, b) => a.stored.touchedAt - b.stored.touchedAt).slice(0, Math.max(0, others.length + 1 - most))
    const handles: string[] = []
    const ends = await Promise.allSettled(tooMany.map(({ ref }) => this.#records.end(ref, ({ meta: { handle } }) => handles.push(handle))))
    if (handles.length > 0) await this.#events.ended({ userId: meta.userId!, handles, reason: 'limit' })
    const failed = ends.find((end) => end.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  async #sessionsOf (userId: string): Promise<Loaded[]> {
    return this.#records.decodeAll(await this.store.list(this.#tagOf(userId)))
  }

  #tagOf (userId: string): string {
    checkUser(userId)
    return tagOf(userId, this.name)
  }

  async #emitEnded ({ meta: { userId, handle } }: Loaded, reason: EndReason): Promise<void> {
    if (userId !== null) await this.#events.ended({ userId, handles: [handle], reason })
  }
}

function handlesOf (sessions: readonly Loaded[]): string[] {
  return sessions.map(({ meta }) => meta.handle)
}

/** The failure of what cannot begin is one of the request's operations, too. */
function attempt (request: AnyRequest, begin: (mustState: () => RequestSession) => Promise<void>): Promise<void> {
  const state = stateOf(request)
  try {
    return begin(() => {
      if (state === undefined) throw new FST_ERR_REDIS_SESSIONS_NO_SESSION()
      return state
    })
  } catch (err) {
    return state === undefined ? Operation.of(Promise.reject(err)) : state.work.fail(err)
  }
}

/** @throws what keeps the session from being read */
function loadedOf (request: AnyRequest): Loaded | null {
  const state = stateOf(request)
  if (state === undefined) return null
  if (state.failure !== null) throw state.failure
  return state.loaded
}

/** A total order, which every instance sees alike. */
function isBefore (a: Loaded, b: Loaded): boolean {
  return a.stored.stamp < b.stored.stamp || (a.stored.stamp === b.stored.stamp && a.ref.hash < b.ref.hash)
}

/** @throws FST_ERR_REDIS_SESSIONS_INVALID_USER */
function checkUser (userId: unknown): asserts userId is string {
  // Ill-formed strings would share the hash of another.
  if (typeof userId !== 'string' || userId.length < 1 || userId.length > 1024 || ILL_FORMED.test(userId)) throw new FST_ERR_REDIS_SESSIONS_INVALID_USER()
}
