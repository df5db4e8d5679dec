import { randomBytes } from 'node:crypto'
import { FST_ERR_WS_NAMESPACES_TOO_MANY_CONNECTIONS } from '../errors.ts'
import type { Identity } from '../namespace/connection.ts'
import type { Found } from '../namespace/directory.ts'
import type { Hub } from '../namespace/hub.ts'
import type { Hubs } from '../namespace/hubs.ts'
import type { WatchedSession } from './watched-session.ts'

const CLIENT_ID = /^[A-Za-z0-9_-]{16,64}$/

/** A client that was let in. */
export interface Admitted {
  readonly found: Found
  readonly ctx: Identity
  readonly session: WatchedSession | null
}

/** A connection as it counts for the limits of its namespace: from before the upgrade, so that simultaneous upgrades cannot exceed them. */
export class Slot {
  readonly hub: Hub
  readonly ctx: Identity
  readonly session: WatchedSession | null
  /** The one that the client gave, or a new one. */
  readonly clientId: string
  readonly #hubs: Hubs
  #isFree = false
  /** Frees what is claimed for all processes. */
  #release: (() => void) | null = null

  /** @throws FST_ERR_WS_NAMESPACES_TOO_MANY_CONNECTIONS, _NOT_FOUND where the definition that admitted has gone meanwhile */
  constructor (hubs: Hubs, admitted: Admitted, clientId: string | null) {
    const hub = hubs.take(admitted.found)
    const { maxConnections, maxConnectionsPerUser } = hub.definition.limits
    const { userId } = admitted.ctx
    const ofUser = userId === null ? 0 : hub.slotsOf.get(userId) ?? 0
    // Its own stale connection does not count: it is replaced when this one begins.
    const own = userId === null ? 0 : [...hub.peersOf(`user:${userId}`)].filter((peer) => peer.clientId === clientId).length
    if (hub.slots - own >= maxConnections || ofUser - own >= maxConnectionsPerUser) {
      hubs.release(hub)
      throw new FST_ERR_WS_NAMESPACES_TOO_MANY_CONNECTIONS()
    }
    hub.slots++
    if (userId !== null) hub.slotsOf.set(userId, ofUser + 1)
    this.hub = hub
    // Not `found`: the hub keeps one for all of its connections.
    this.ctx = admitted.ctx
    this.session = admitted.session
    this.clientId = clientId !== null && CLIENT_ID.test(clientId) ? clientId : randomBytes(16).toString('base64url')
    this.#hubs = hubs
  }

  /** Counts the connection among those of its user on all processes, where that is limited. @throws FST_ERR_WS_NAMESPACES_TOO_MANY_CONNECTIONS */
  async claim (): Promise<void> {
    const { hub: { userSlots, definition }, ctx: { userId }, clientId } = this
    if (userSlots === null || userId === null) return
    this.#release = await userSlots.claim(userId, clientId, definition.limits.maxConnectionsPerUser)
    if (this.#release !== null) return
    this.free()
    throw new FST_ERR_WS_NAMESPACES_TOO_MANY_CONNECTIONS()
  }

  free (): void {
    if (this.#isFree) return
    this.#isFree = true
    const { hub, ctx: { userId } } = this
    hub.slots--
    const left = userId === null ? 0 : hub.slotsOf.get(userId)! - 1
    if (userId !== null && left === 0) hub.slotsOf.delete(userId)
    else if (userId !== null) hub.slotsOf.set(userId, left)
    this.#release?.()
    this.#hubs.release(hub)
  }
}
