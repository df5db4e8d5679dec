import { callSafely } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import { Close } from '../codes.ts'
import { formatOffset, type Opening } from '../delivery/carrier.ts'
import type { Line } from '../delivery/line.ts'
import type { Transport } from '../delivery/transport.ts'
import { endOf, type Expiries } from '../namespace/authorization.ts'
import type { Hub } from '../namespace/hub.ts'
import type { Inbox } from '../namespace/inbox.ts'
import { Peer, type Wishes } from '../namespace/peer.ts'
import type { Known } from '../recovery/records.ts'
import { isOf, resumptionOf } from '../recovery/resume.ts'
import type { Seat } from './gate.ts'
import type { WatchedSessions } from './sessions.ts'

export interface AttendanceParts {
  readonly inbox: Inbox
  readonly sessions: WatchedSessions
  readonly expiries: Expiries
  readonly log: FastifyBaseLogger
  /** All sockets of the process. */
  readonly lines: Set<Line>
  /** What every client is told of the plugin's options. */
  readonly told: { readonly heartbeat: { readonly everyMs: number, readonly timeoutMs: number }, readonly reconnectWindowMs: number, readonly onceMs: number }
}

/** Longest that onConnect and the look into the history may take. */
const BEGIN_MS = 30_000

/** Takes a connection to one namespace from its admission to its end. */
export class Attendance {
  readonly peer: Peer
  readonly #parts: AttendanceParts
  readonly #seat: Seat

  constructor (parts: AttendanceParts, transport: Transport, seat: Seat, wishes: Wishes) {
    const { hub, ctx, session } = seat
    this.#parts = parts
    this.#seat = seat
    this.peer = new Peer(hub, transport, ctx, session, wishes)
  }

  /** Once who carries it knows it. */
  start (wishes: Wishes): void {
    const { peer } = this
    const { hub } = this.#seat
    const { sessions, expiries, log } = this.#parts
    // Until the client is told that it is connected nothing of it is read, so nothing is lost and nothing piles up.
    peer.transport.pause()
    replace(hub, peer)
    hub.connections.add(peer)
    sessions.add(peer)
    expiries.add(peer)
    begin(this.#parts, hub, peer, wishes).catch((err: unknown) => {
      log.error({ err, namespace: hub.name }, 'a connection could not begin')
      peer.close(Close.failed, 'the connection could not begin')
      peer.transport.resume()
    })
  }

  receive (data: Buffer, isBinary: boolean): void {
    const { inbox, log } = this.#parts
    try {
      inbox.receive(this.peer, data, isBinary)
    } catch (err) {
      // An exception here would end the process.
      log.error({ err, namespace: this.peer.namespace }, 'a message could not be handled')
    }
  }

  /** The connection is over, for the reason that the server gave or else this one. */
  end (code: number, reason: string): void {
    const { peer } = this
    const { hub } = this.#seat
    const { sessions, expiries, log } = this.#parts
    hub.connections.delete(peer)
    hub.leave(peer)
    sessions.remove(peer)
    expiries.remove(peer)
    if (hub.connections.size === 0) hub.presence?.detach()
    if (peer.announced) {
      const failed = (err: unknown): void => log.error({ err, namespace: hub.name }, 'onDisconnect failed')
      callSafely(failed, hub.definition.onDisconnect, peer, peer.ended ?? { code, reason })
    }
    this.#seat.free()
  }
}

async function begin ({ told }: AttendanceParts, hub: Hub, peer: Peer, wishes: Wishes): Promise<void> {
  const { definition } = hub
  const heard = [hub.addTopic(peer, 'broadcast')]
  if (peer.userId !== null) heard.push(hub.addTopic(peer, `user:${peer.userId}`))
  if (hub.presence !== null) heard.push(hub.presence.attach())
  const timer = setTimeout(() => peer.close(Close.failed, 'the connection took too long to begin'), BEGIN_MS).unref()
  try {
    await Promise.all(heard)
    if (!peer.isOpen) return
    peer.announced = true
    await definition.onConnect?.(peer)
    const { opening, known } = await open(hub, peer, wishes)
    if (!peer.isOpen) return
    const { place } = opening
    const { recovered, missed } = resumptionOf(opening, peer, known)
    const { maxMessageBytes, messages, windowMs } = definition.limits
    const limits = { maxMessageBytes, messages, windowMs }
    const { heartbeat: _, ...shared } = told
    const data = { clientId: peer.clientId, userId: peer.userId, namespace: hub.name, limits, recovered, offset: place === null ? null : formatOffset(place), ...(peer.transport.isShared ? shared : told), ...expiryOf(peer), ...presenceOf(hub, peer) }
    peer.start({ type: 'connected', data }, place, missed, recovered ? wishes.offset : null)
    if (hub.records !== null) peer.membership.remember(known, place)
    if (peer.userId !== null) hub.arrive(peer.userId)
  } finally {
    clearTimeout(timer)
    peer.transport.resume()
  }
}

function expiryOf ({ ctx }: Peer): { expiresAt?: number } {
  const expiresAt = endOf(ctx)
  return expiresAt === null ? {} : { expiresAt }
}

/** Who is there, the client itself too; what is announced meanwhile follows. */
function presenceOf ({ presence }: Hub, { userId }: Peer): { presence?: Array<{ userId: string }> } {
  if (presence === null) return {}
  return { presence: [...new Set([...presence.here, ...(userId === null ? [] : [userId])])].map((userId) => ({ userId })) }
}

/** Looks up where the client stands, and goes on in the rooms that it was in. */
async function open (hub: Hub, peer: Peer, { offset, clientId }: Wishes): Promise<{ opening: Opening, known: Known }> {
  const opening = await hub.carrier.open(offset)
  if (hub.records === null || !opening.recovered || clientId !== peer.clientId) return { opening, known: 'unknown' }
  const known = await hub.records.read(clientId, peer.userId).catch(() => 'unknown' as const)
  // What is said in a room from now on is heard; what was said in between is in the log once more.
  const again = isOf(known, peer) && await peer.membership.restore(known)
  return { opening: again ? await hub.carrier.open(offset) : opening, known }
}

/** A client that comes back before its old connection was found dead takes its place. */
function replace (hub: Hub, { userId, clientId }: Peer): void {
  if (userId === null) return
  for (const other of hub.peersOf(`user:${userId}`)) if (other.clientId === clientId) other.transport.terminate()
}
