import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Definition, Identity } from '../namespace/definition.ts'
import {
  FST_ERR_WS_NAMESPACES_DRAINING, FST_ERR_WS_NAMESPACES_FORBIDDEN, FST_ERR_WS_NAMESPACES_FORBIDDEN_ORIGIN,
  FST_ERR_WS_NAMESPACES_NOT_FOUND, FST_ERR_WS_NAMESPACES_TOO_MANY_CONNECTIONS, FST_ERR_WS_NAMESPACES_UNAUTHENTICATED
} from '../errors.ts'
import type { Hub } from '../namespace/hub.ts'
import { decodePath, isName, type Params } from '../namespace/names.ts'
import type { Registry } from '../namespace/registry.ts'
import { sessionsOf, type WatchedSession } from './sessions.ts'

/** A client that was let in. */
export interface Admitted {
  readonly name: string
  readonly ctx: Identity
  readonly session: WatchedSession | null
}

/** Decides who may connect. Nothing is made for a client before it is let in. */
export class Gate {
  readonly #fastify: FastifyInstance
  readonly #registry: Registry

  constructor (fastify: FastifyInstance, registry: Registry) {
    this.#fastify = fastify
    this.#registry = registry
  }

  /** @param path below the prefix, encoded. @throws what the client is answered */
  async admit (request: FastifyRequest, path: string): Promise<Admitted> {
    if (this.#registry.drain.active) throw new FST_ERR_WS_NAMESPACES_DRAINING()
    const segments = decodePath(path)
    const found = segments === null ? null : this.#registry.match(segments)
    const sessions = sessionsOf(this.#fastify)
    if (found === null) {
      // What exists is told only to those who are somebody.
      if (sessions !== null && sessions.current(request) === null) throw new FST_ERR_WS_NAMESPACES_UNAUTHENTICATED()
      throw new FST_ERR_WS_NAMESPACES_NOT_FOUND()
    }
    const { name, definition, params } = found
    checkOrigin(request, definition)
    if (sessions !== null && !definition.public && sessions.current(request) === null) throw new FST_ERR_WS_NAMESPACES_UNAUTHENTICATED()
    const ctx = await this.#identify(request, definition, params)
    // authorize may have taken its time.
    if (this.#registry.drain.active) throw new FST_ERR_WS_NAMESPACES_DRAINING()
    return { name, ctx, session: sessions === null ? null : watch(() => sessions.watch(request), definition.public) }
  }

  async #identify (request: FastifyRequest, definition: Definition, params: Params): Promise<Identity> {
    const given = definition.authorize === undefined ? this.#default(request, definition) : await definition.authorize(request, params)
    if (given === false) throw new FST_ERR_WS_NAMESPACES_FORBIDDEN()
    if (given === null || given === undefined) throw new FST_ERR_WS_NAMESPACES_UNAUTHENTICATED()
    if (typeof given !== 'object' || !(given.userId === null ? definition.public : isName(given.userId))) {
      throw new TypeError('authorize must return { userId }, false or null; a userId is a text of 1 to 512 well-formed characters, or null where the namespace is public')
    }
    return given
  }

  #default (request: FastifyRequest, definition: Definition): Identity | null {
    const current = watch(() => sessionsOf(this.#fastify)?.current(request) ?? null, definition.public)
    return current === null ? (definition.public ? { userId: null } : null) : { userId: current.userId }
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
function checkOrigin (request: FastifyRequest, { origins }: Definition): void {
  const { origin } = request.headers
  if (origin === undefined) return
  const allowed = origins === null ? hostOf(origin) === request.host : origins.has('*') || origins.has(origin)
  if (!allowed) throw new FST_ERR_WS_NAMESPACES_FORBIDDEN_ORIGIN()
}

function hostOf (origin: string): string | null {
  try {
    return new URL(origin).host
  } catch {
    return null
  }
}

/** A place among the connections of a namespace, taken before the upgrade so that a rush cannot pass the limit. */
export class Seat {
  readonly hub: Hub
  readonly admitted: Admitted
  #free = false

  /** @throws TOO_MANY_CONNECTIONS */
  constructor (registry: Registry, admitted: Admitted) {
    const hub = registry.takeHub(admitted.name)
    const { maxConnections, maxConnectionsPerUser } = hub.definition.limits
    const { userId } = admitted.ctx
    const ofUser = userId === null ? 0 : hub.seatsOf.get(userId) ?? 0
    if (hub.seats >= maxConnections || ofUser >= maxConnectionsPerUser) {
      registry.release(hub)
      throw new FST_ERR_WS_NAMESPACES_TOO_MANY_CONNECTIONS()
    }
    hub.seats++
    if (userId !== null) hub.seatsOf.set(userId, ofUser + 1)
    this.hub = hub
    this.admitted = admitted
  }

  free (registry: Registry): void {
    if (this.#free) return
    this.#free = true
    const { hub } = this
    const { userId } = this.admitted.ctx
    hub.seats--
    const left = userId === null ? 0 : hub.seatsOf.get(userId)! - 1
    if (userId !== null && left === 0) hub.seatsOf.delete(userId)
    else if (userId !== null) hub.seatsOf.set(userId, left)
    registry.release(hub)
  }
}
