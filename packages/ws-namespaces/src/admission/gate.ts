import type { FastifyInstance, FastifyRequest } from 'fastify'
import {
  FST_ERR_WS_NAMESPACES_DRAINING, FST_ERR_WS_NAMESPACES_FORBIDDEN, FST_ERR_WS_NAMESPACES_FORBIDDEN_ORIGIN,
  FST_ERR_WS_NAMESPACES_NOT_FOUND, FST_ERR_WS_NAMESPACES_UNAUTHORIZED
} from '../errors.ts'
import { identityOf } from '../namespace/authorization.ts'
import type { Identity } from '../namespace/connection.ts'
import type { Definition } from '../namespace/definition.ts'
import type { Hubs } from '../namespace/hubs.ts'
import { decodePath, type Params } from '../namespace/names.ts'
import type { Drain } from './drain.ts'
import { sessionsOf } from './sessions.ts'
import { Slot, type Admitted } from './slot.ts'

/** Decides who may connect, before the upgrade. A client that is refused allocates nothing. */
export class Gate {
  readonly #fastify: FastifyInstance
  readonly #hubs: Hubs
  readonly #drain: Drain
  readonly #warned = new WeakSet<Definition>()

  constructor (fastify: FastifyInstance, hubs: Hubs, drain: Drain) {
    this.#fastify = fastify
    this.#hubs = hubs
    this.#drain = drain
  }

  /** @param path below the prefix, encoded. @throws what the client is answered */
  async admit (request: FastifyRequest, path: string): Promise<Admitted> {
    if (this.#drain.active) throw new FST_ERR_WS_NAMESPACES_DRAINING()
    const segments = decodePath(path)
    const found = segments === null ? null : this.#hubs.directory.match(segments)
    const sessions = sessionsOf(this.#fastify)
    if (found === null) {
      // Which namespaces exist is told to identified callers only.
      if (sessions !== null && sessions.current(request) === null) throw new FST_ERR_WS_NAMESPACES_UNAUTHORIZED()
      throw new FST_ERR_WS_NAMESPACES_NOT_FOUND()
    }
    const { definition, params } = found
    checkOrigin(request, definition)
    if (sessions !== null && !definition.public && sessions.current(request) === null) throw new FST_ERR_WS_NAMESPACES_UNAUTHORIZED()
    const ctx = await this.#identify(request, definition, params)
    // The drain may have begun while `authorize` was awaited.
    if (this.#drain.active) throw new FST_ERR_WS_NAMESPACES_DRAINING()
    return { found, ctx, session: sessions === null ? null : watch(() => sessions.watch(request), definition.public) }
  }

  /** Counts an admitted client among the connections. @throws what the client is answered */
  async take (admitted: Admitted, clientId: string | null): Promise<Slot> {
    const slot = new Slot(this.#hubs, admitted, clientId)
    await slot.claim()
    // Redis may have been asked meanwhile.
    if (!this.#drain.active && !slot.hub.isEvicted) return slot
    slot.free()
    throw this.#drain.active ? new FST_ERR_WS_NAMESPACES_DRAINING() : new FST_ERR_WS_NAMESPACES_NOT_FOUND()
  }

  /**
   * Whether there can be anything to open on a socket of several namespaces. Each namespace is asked when it is opened.
   *
   * @throws what the client is answered
   */
  admitSocket (request: FastifyRequest): void {
    if (this.#drain.active) throw new FST_ERR_WS_NAMESPACES_DRAINING()
    const definitions = [...this.#hubs.directory]
    if (definitions.length === 0) throw new FST_ERR_WS_NAMESPACES_NOT_FOUND()
    const open = definitions.filter((definition) => isFrom(request, definition))
    if (open.length === 0) throw new FST_ERR_WS_NAMESPACES_FORBIDDEN_ORIGIN()
    const sessions = sessionsOf(this.#fastify)
    if (sessions !== null && !open.some((definition) => definition.public) && sessions.current(request) === null) throw new FST_ERR_WS_NAMESPACES_UNAUTHORIZED()
  }

  async #identify (request: FastifyRequest, definition: Definition, params: Params): Promise<Identity> {
    const given = definition.authorize === undefined ? this.#default(request, definition) : await definition.authorize(request, params)
    const identity = identityOf(given, definition)
    if (identity === 'forbidden') throw new FST_ERR_WS_NAMESPACES_FORBIDDEN()
    if (identity === 'unauthorized') throw new FST_ERR_WS_NAMESPACES_UNAUTHORIZED()
    return identity
  }

  #default (request: FastifyRequest, definition: Definition): Identity | null {
    const sessions = sessionsOf(this.#fastify)
    if (sessions === null && !definition.public) this.#warn(request, definition)
    const current = watch(() => sessions?.current(request) ?? null, definition.public)
    return current === null ? (definition.public ? { userId: null } : null) : { userId: current.userId }
  }

  /** Once for each namespace. */
  #warn (request: FastifyRequest, definition: Definition): void {
    if (this.#warned.has(definition)) return
    this.#warned.add(definition)
    request.log.warn('nobody can enter this namespace: register @jpulse/redis-sessions, or give it authorize or public')
  }
}

/** Guests get in while the session store is away. */
function watch<T> (look: () => T | null, isPublic: boolean): T | null {
  try {
    return look()
  } catch (err) {
    if (isPublic) return null
    throw err
  }
}

/** Requests without an origin do not come from a page, so no page can have had them sent with a visitor's cookies. */
function checkOrigin (request: FastifyRequest, definition: Definition): void {
  if (!isFrom(request, definition)) throw new FST_ERR_WS_NAMESPACES_FORBIDDEN_ORIGIN()
}

function isFrom (request: FastifyRequest, { origins }: Definition): boolean {
  const { origin } = request.headers
  if (origin === undefined) return true
  return origins === null ? hostOf(origin) === request.host : origins.has('*') || origins.has(origin)
}

function hostOf (origin: string): string | null {
  try {
    return new URL(origin).host
  } catch {
    return null
  }
}
