import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { SocketOwner } from '../delivery/queued-socket.ts'
import type { Peer } from '../namespace/peer.ts'
import type { WatchedSession } from './watched-session.ts'

/** What is used of `fastify.sessions`. */
interface Sessions {
  current (request: FastifyRequest): { userId: string, handle: string } | null
  watch (request: FastifyRequest): WatchedSession | null
}

/** What `session:moved` tells: sessions that got another id, and kept their handles. */
export interface Moved {
  readonly userId: string
  readonly handles: readonly string[]
  /** Of which registration of sessions, where it has a name. */
  readonly realm?: string
}

/** What `session:ended` tells. */
export interface Ended extends Moved {
  readonly reason: string
  readonly except?: string
}

/** Where @jpulse/redis-sessions is registered; null elsewhere. */
export function sessionsOf (fastify: FastifyInstance): Sessions | null {
  return (fastify as { sessions?: Sessions }).sessions ?? null
}

/** What of a connection counts as activity of its session. */
export type SessionActivity = 'messages' | 'connection' | 'none'

/** The connections of this process by their session's user, to end them with it, and to keep it alive. */
export class WatchedSessions {
  readonly #byUser = new Map<string, Set<Peer>>()
  readonly #activity: SessionActivity

  constructor (activity: SessionActivity) {
    this.#activity = activity
  }

  add (peer: Peer): void {
    const userId = peer.session?.userId
    if (userId == null) return
    const peers = this.#byUser.get(userId)
    if (peers === undefined) this.#byUser.set(userId, new Set([peer]))
    else peers.add(peer)
    // The session may have ended between the look at it and now.
    this.look(peer.transport.socket.owner)
  }

  remove (peer: Peer): void {
    const userId = peer.session?.userId
    const peers = userId == null ? undefined : this.#byUser.get(userId)
    if (peers?.delete(peer) === true && peers.size === 0) this.#byUser.delete(userId!)
  }

  /** Ends the connections of a socket where their session is dead. A store that cannot tell ends nobody. */
  look (owner: SocketOwner): void {
    owner.session?.isAlive().then((alive) => { if (!alive) owner.expire() }, () => {})
    if (this.#activity === 'connection') this.#touch(owner)
  }

  /** A client sent a message. */
  onMessage (peer: Peer): void {
    if (this.#activity !== 'none') this.#touch(peer.transport.socket.owner)
  }

  /** The session tells its store now and then only. */
  #touch (owner: SocketOwner): void {
    owner.session?.touch?.().then((alive) => { if (!alive) owner.expire() }, () => {})
  }

  /** Sessions ended somewhere. */
  onEnded ({ userId, handles, reason, except, realm = '' }: Ended): void {
    const all = reason === 'logout-all' || reason === 'logout-others'
    for (const peer of this.#of(userId, realm)) {
      const { handle } = peer.session!
      if (all ? handle !== except : handles.includes(handle)) peer.expire()
    }
  }

  /** What came with the new id meanwhile has the same handle, so the store tells which of them are to end. */
  onMoved ({ userId, handles, realm = '' }: Moved): void {
    const owners = this.#of(userId, realm).filter((peer) => handles.includes(peer.session!.handle)).map((peer) => peer.transport.socket.owner)
    for (const owner of new Set(owners)) this.look(owner)
  }

  #of (userId: string, realm: string): Peer[] {
    return [...this.#byUser.get(userId) ?? []].filter((peer) => (peer.session!.realm ?? '') === realm)
  }
}
