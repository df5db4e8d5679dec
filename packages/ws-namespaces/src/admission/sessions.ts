import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Close } from '../codes.ts'
import type { Connection } from '../namespace/connection.ts'

/** A session as seen from a connection, see @jpulse/redis-sessions. */
export interface WatchedSession {
  readonly userId: string | null
  readonly handle: string
  /** Rejects while the store cannot be asked. */
  isAlive (): Promise<boolean>
}

/** What is used of `fastify.sessions`. */
interface Sessions {
  current (request: FastifyRequest): { userId: string, handle: string } | null
  watch (request: FastifyRequest): WatchedSession | null
}

/** What `session:ended` tells. */
interface Ended {
  readonly userId: string
  readonly handles: readonly string[]
  readonly reason: string
  readonly except?: string
}

/** Where @jpulse/redis-sessions is registered; null elsewhere. */
export function sessionsOf (fastify: FastifyInstance): Sessions | null {
  return (fastify as { sessions?: Sessions }).sessions ?? null
}

/** The connections of this process by their session's user, to end them with it. */
export class WatchedSessions {
  readonly #byUser = new Map<string, Set<Connection>>()

  add (conn: Connection): void {
    const userId = conn.internals.session?.userId
    if (userId == null) return
    const conns = this.#byUser.get(userId)
    if (conns === undefined) this.#byUser.set(userId, new Set([conn]))
    else conns.add(conn)
    // The session may have ended between the look at it and now.
    this.look(conn)
  }

  remove (conn: Connection): void {
    const userId = conn.internals.session?.userId
    const conns = userId == null ? undefined : this.#byUser.get(userId)
    if (conns?.delete(conn) === true && conns.size === 0) this.#byUser.delete(userId!)
  }

  /** Ends the connection where its session is dead. A store that cannot tell ends nobody. */
  look (conn: Connection): void {
    conn.internals.session?.isAlive().then((alive) => { if (!alive) expire(conn) }, () => {})
  }

  /** Sessions ended somewhere. */
  readonly onEnded = (ended: Ended): void => {
    for (const conn of [...this.#byUser.get(ended.userId) ?? []]) {
      const handle = conn.internals.session!.handle
      const all = ended.reason === 'logout-all' || ended.reason === 'logout-others'
      if (all ? handle !== ended.except : ended.handles.includes(handle)) expire(conn)
    }
  }
}

function expire (conn: Connection): void {
  if (!conn.isOpen || conn.internals.ended !== null) return
  conn.fail('SESSION_EXPIRED')
  conn.close(Close.unauthenticated, 'session ended')
}
