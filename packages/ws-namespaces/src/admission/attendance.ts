import { callSafely } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import { Close } from '../codes.ts'
import { formatOffset, type Opening } from '../delivery/carrier.ts'
import type { Socket } from '../delivery/socket.ts'
import type { Hub } from '../namespace/hub.ts'
import type { Inbox } from '../namespace/inbox.ts'
import { Peer, type Wishes } from '../namespace/peer.ts'
import type { Known } from '../recovery/records.ts'
import { isOf, resumptionOf } from '../recovery/resume.ts'
import type { Seat } from './gate.ts'
import type { WatchedSessions } from './sessions.ts'

const kAttending = Symbol('ws-namespaces.attending')

/** What the listeners of a socket need. One object and shared functions, because thousands of sockets have them. */
interface Attending {
  readonly parts: AttendanceParts
  readonly peer: Peer
  readonly seat: Seat
}

interface Attended extends Socket { [kAttending]: Attending }

export interface AttendanceParts {
  readonly inbox: Inbox
  readonly sessions: WatchedSessions
  readonly log: FastifyBaseLogger
  /** What every client is told of the plugin's options. */
  readonly told: { readonly heartbeat: { readonly everyMs: number, readonly timeoutMs: number }, readonly reconnectWindowMs: number }
}

/** Longest that onConnect and the look into the history may take. */
const BEGIN_MS = 30_000

/** Takes a socket from its upgrade to its end. */
export function attend (parts: AttendanceParts, socket: Socket, seat: Seat, wishes: Wishes): void {
  const { hub, admitted } = seat
  const peer = new Peer(hub, socket, admitted.ctx, admitted.session, wishes)
  ;(socket as Attended)[kAttending] = { parts, peer, seat }
  socket.on('message', onMessage)
  socket.on('pong', onPong)
  socket.on('close', onClose)
  socket.on('error', onError)
  // Until the client is told that it is connected nothing of it is read, so nothing is lost and nothing piles up.
  socket.pause()
  replace(hub, peer)
  hub.connections.add(peer)
  parts.sessions.add(peer)
  begin(parts, hub, peer, wishes).catch((err: unknown) => {
    parts.log.error({ err, namespace: hub.name }, 'a connection could not begin')
    peer.close(Close.failed, 'the connection could not begin')
    socket.resume()
  })
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
    const data = { clientId: peer.clientId, userId: peer.userId, namespace: hub.name, limits, recovered, offset: place === null ? null : formatOffset(place), ...told, ...presenceOf(hub, peer) }
    peer.start({ type: 'connected', data }, place, missed, recovered ? wishes.offset : null)
    if (hub.records !== null) peer.membership.remember(known, place)
    if (peer.userId !== null) hub.arrive(peer.userId)
  } finally {
    clearTimeout(timer)
    peer.socket.resume()
  }
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
  for (const other of hub.peersOf(`user:${userId}`)) if (other.clientId === clientId) other.socket.terminate()
}

function onMessage (this: Attended, data: Buffer, isBinary: boolean): void {
  const { parts, peer } = this[kAttending]
  try {
    parts.inbox.receive(peer, data, isBinary)
  } catch (err) {
    // An exception here would end the process.
    parts.log.error({ err, namespace: peer.namespace }, 'a message could not be handled')
  }
}

function onPong (this: Attended): void {
  this[kAttending].peer.heardAt = performance.now()
}

/** The close that follows tells all. */
function onError (this: Attended, err: Error): void {
  const { parts, peer } = this[kAttending]
  parts.log.debug({ err, namespace: peer.namespace }, 'the connection of a client failed')
}

function onClose (this: Attended, code: number, reason: Buffer): void {
  const { parts, peer, seat } = this[kAttending]
  const { hub } = seat
  hub.connections.delete(peer)
  hub.leave(peer)
  parts.sessions.remove(peer)
  if (hub.connections.size === 0) hub.presence?.detach()
  if (peer.announced) {
    const failed = (err: unknown): void => parts.log.error({ err, namespace: hub.name }, 'onDisconnect failed')
    callSafely(failed, hub.definition.onDisconnect, peer, peer.ended ?? { code, reason: String(reason) })
  }
  seat.free()
}
