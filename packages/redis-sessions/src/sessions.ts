import { EventEmitter } from 'node:events'
import type { FastifyRequest } from 'fastify'
import { stateOf } from './request/bridge.ts'
import {
  FST_ERR_REDIS_SESSIONS_INVALID_USER, FST_ERR_REDIS_SESSIONS_NO_SESSION, FST_ERR_REDIS_SESSIONS_NOT_LOGGED_IN,
  FST_ERR_REDIS_SESSIONS_UNKNOWN_HANDLE
} from './errors.ts'
import { checkNames, toJson, type Fields } from './vault/fields.ts'
import { setSession } from './request/hooks.ts'
import { refOf, tagOf } from './stores/ids.ts'
import type { Context, RequestSession } from './request/request-session.ts'
import type { SessionStore } from './stores/store.ts'
import type { Loaded, Vault } from './vault/vault.ts'

/** Why sessions ended. Timeouts are not told: Redis forgets those by itself. */
export type EndReason = 'login' | 'logout' | 'logout-all' | 'logout-others' | 'revoked' | 'destroy'

/** Sessions of one user that ended. */
export interface EndedSessions {
  userId: string
  /** Those that were known. After `logout-all` and `logout-others` there may have been more: all of the user's but `except` ended. */
  handles: string[]
  reason: EndReason
  /** The one session that goes on, after `logout-others`. */
  except?: string
}

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

/** A session seen from a connection that outlives its request. It holds nothing of the request. */
export interface WatchedSession {
  /** Null for an anonymous session. */
  userId: string | null
  /** As `session:ended` and `list` name it. */
  handle: string
  /**
   * Asks the store whether the session is still alive.
   *
   * @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE
   */
  isAlive (): Promise<boolean>
}

export interface SessionsEvents {
  /** Sessions ended by a call in this process. */
  ended: [EndedSessions]
}

const REVOKE_ATTEMPTS = 5
/** A surrogate without its pair. */
const ILL_FORMED = /\p{Surrogate}/u

/** Logs users in and out: `fastify.sessions`. */
export class Sessions extends EventEmitter<SessionsEvents> {
  readonly #context: Context
  readonly #vault: Vault

  constructor (context: Context) {
    super()
    this.#context = context
    this.#vault = context.vault
  }

  /** Where sessions live now: `memory` also while Redis is away and `onUnavailable` is `'memory'`. */
  get mode (): SessionStore['mode'] {
    return this.store.mode
  }

  /** What keeps the sessions. */
  get store (): SessionStore {
    return this.#vault.store
  }

  /**
   * Logs a user in: the request gets a new session with a new id, which holds `data` and nothing of the old one; the old one is dead.
   *
   * @param userId any well-formed string of 1 to 1024 characters
   * @param data fields of the new session
   * @throws FST_ERR_REDIS_SESSIONS_INVALID_USER, _RESERVED_FIELD, _NOT_SERIALIZABLE, _TOO_LARGE, _UNAVAILABLE
   */
  async login (request: FastifyRequest, userId: string, data: Fields = {}): Promise<void> {
    checkUser(userId)
    checkNames(data)
    // The new session is made only of what can be stored, so that a refusal leaves the old one alone.
    this.#vault.check(toJson(data))
    const state = mustState(request)
    if (state.failure !== null) throw state.failure
    if (state.session === null) throw new FST_ERR_REDIS_SESSIONS_NO_SESSION()
    state.login = { userId, fields: data }
    try {
      await state.session.regenerate()
    } finally {
      state.login = null
    }
    Object.assign(request.session, data)
  }

  /**
   * Ends the session of the request and clears its cookie. `request.session` is null from here on. Does nothing where there is none.
   *
   * @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE where the logout would not hold
   */
  async logout (request: FastifyRequest): Promise<void> {
    const state = mustState(request)
    const ids = new Set([state.cookieId, state.session?.sessionId].filter((id) => typeof id === 'string'))
    for (const id of ids) {
      if (id !== state.cookieId && state.loaded === null) continue
      const ended = await this.#vault.end(refOf(id)!)
      await this.#announce(ended === null ? [] : [ended], 'logout')
    }
    state.out()
    setSession(request, null)
  }

  /** Who is logged in by this request, and the handle of that session; null for an anonymous one. */
  current (request: FastifyRequest): { userId: string, handle: string } | null {
    const state = stateOf(request)
    if (state?.failure) throw state.failure
    const meta = state?.loaded?.meta
    return meta?.userId == null ? null : { userId: meta.userId, handle: meta.handle }
  }

  /**
   * Asks the store whether the session that the request came with, or got, is still alive: for connections that outlive their request.
   *
   * @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE
   */
  async isAlive (request: FastifyRequest): Promise<boolean> {
    const state = stateOf(request)
    if (state?.failure) throw state.failure
    return state?.loaded != null && await this.#vault.open(state.loaded.ref) !== null
  }

  /**
   * The session that the request came with, or got, for connections that outlive their request; null where it has none.
   *
   * @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE
   */
  watch (request: FastifyRequest): WatchedSession | null {
    const state = stateOf(request)
    if (state?.failure) throw state.failure
    if (state?.loaded == null) return null
    const { ref, meta: { userId, handle } } = state.loaded
    return { userId, handle, isAlive: async () => await this.#vault.open(ref) !== null }
  }

  /**
   * The live sessions of a user, the last seen first.
   *
   * @param request marks its own session as `current`
   * @throws FST_ERR_REDIS_SESSIONS_INVALID_USER, _UNAVAILABLE
   */
  async list (userId: string, request?: FastifyRequest): Promise<SessionInfo[]> {
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
      const ended = await this.#vault.end(found.ref)
      if (ended !== null) return this.#announce([ended], 'revoked')
      // It ended, or `regenerate` gave it another id meanwhile: the list tells.
    }
    throw new FST_ERR_REDIS_SESSIONS_UNKNOWN_HANDLE()
  }

  /**
   * Ends all sessions of the request's user but its own. Returns how many were known.
   *
   * @throws FST_ERR_REDIS_SESSIONS_NOT_LOGGED_IN, _UNAVAILABLE
   */
  async logoutOthers (request: FastifyRequest): Promise<number> {
    const current = this.current(request)
    if (current === null) throw new FST_ERR_REDIS_SESSIONS_NOT_LOGGED_IN()
    const except = mustState(request).loaded!.ref
    const ended = this.#vault.decodeAll((await this.store.removeAll(except.tag, { except })).known)
    await this.#tell({ userId: current.userId, handles: ended.map(({ meta }) => meta.handle), reason: 'logout-others', except: current.handle })
    return ended.length
  }

  /**
   * Ends all sessions of a user that exist now, everywhere, also those that the user's index lost. Returns how many were known.
   *
   * @throws FST_ERR_REDIS_SESSIONS_INVALID_USER, _UNAVAILABLE
   */
  async logoutAll (userId: string): Promise<number> {
    checkUser(userId)
    const ended = this.#vault.decodeAll((await this.store.removeAll(tagOf(userId))).known)
    await this.#tell({ userId, handles: ended.map(({ meta }) => meta.handle), reason: 'logout-all' })
    return ended.length
  }

  /** How many sessions are alive, anonymous ones too. Takes time in proportion to the keys of the database: for operators. */
  async count (): Promise<number> {
    return this.store.count()
  }

  async #sessionsOf (userId: string): Promise<Loaded[]> {
    checkUser(userId)
    return this.#vault.decodeAll(await this.store.list(tagOf(userId)))
  }

  async #announce (ended: Loaded[], reason: EndReason): Promise<void> {
    for (const { meta: { userId, handle } } of ended) if (userId !== null) await this.#tell({ userId, handles: [handle], reason })
  }

  #tell (ended: EndedSessions): Promise<void> {
    return this.#context.announce(ended)
  }
}

function mustState (request: FastifyRequest): RequestSession {
  const state = stateOf(request)
  if (state === undefined) throw new FST_ERR_REDIS_SESSIONS_NO_SESSION()
  return state
}

/** @throws FST_ERR_REDIS_SESSIONS_INVALID_USER */
function checkUser (userId: unknown): asserts userId is string {
  // Ill-formed strings would share the hash of another.
  if (typeof userId !== 'string' || userId.length < 1 || userId.length > 1024 || ILL_FORMED.test(userId)) throw new FST_ERR_REDIS_SESSIONS_INVALID_USER()
}
