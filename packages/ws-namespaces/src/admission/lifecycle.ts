import { callSafely } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import { Close } from '../codes.ts'
import { formatOffset, type Opening } from '../delivery/carrier.ts'
import type { QueuedSocket } from '../delivery/queued-socket.ts'
import type { Transport } from '../delivery/transport.ts'
import { endOf, type Expiries } from '../namespace/authorization.ts'
import type { Hub } from '../namespace/hub.ts'
import type { Dispatcher } from '../namespace/dispatcher.ts'
import { Peer, type ResumeRequest } from '../namespace/peer.ts'
import type { ClientRecord } from '../recovery/records.ts'
import { isOf, resumptionOf } from '../recovery/resume.ts'
import type { WatchedSessions } from './sessions.ts'
import type { Slot } from './slot.ts'

export interface LifecycleParts {
  readonly dispatcher: Dispatcher
  readonly sessions: WatchedSessions
  readonly expiries: Expiries
  readonly log: FastifyBaseLogger
  /** All sockets of the process. */
  readonly sockets: Set<QueuedSocket>
  /** What each `connected` says of the plugin's options. */
  readonly welcome: { readonly heartbeat: { readonly everyMs: number, readonly timeoutMs: number }, readonly reconnectWindowMs: number, readonly onceMs: number }
}

/** Longest that onConnect and the look into the history may take. */
const BEGIN_MS = 30_000

/** One connection to one namespace, from its admission to its end. */
export class Lifecycle {
  readonly peer: Peer
  readonly parts: LifecycleParts
  readonly #slot: Slot

  constructor (parts: LifecycleParts, transport: Transport, slot: Slot) {
    const { hub, ctx, session, clientId } = slot
    this.parts = parts
    this.#slot = slot
    this.peer = new Peer(hub, transport, ctx, session, clientId)
  }

  /** Called when the socket has its owner: a client may be cut while it begins. */
  start (resumeRequest: ResumeRequest): void {
    const { peer } = this
    const { hub } = this.#slot
    const { sessions, expiries, log } = this.parts
    // Its definition was closed between the admission and now.
    if (hub.isEvicted) return peer.close(Close.goingAway, 'namespace closed')
    // Until the client is told that it is connected nothing of it is read, so nothing is lost and nothing piles up.
    peer.transport.pause()
    replaceStale(hub, peer)
    hub.connections.add(peer)
    sessions.add(peer)
    expiries.add(peer)
    begin(this.parts, hub, peer, resumeRequest).catch((err: unknown) => {
      log.error({ err, namespace: hub.name }, 'a connection could not begin')
      peer.close(Close.failed, 'the connection could not begin')
      peer.transport.resume()
    })
  }

  receive (data: Buffer, isBinary: boolean): void {
    const { dispatcher, log } = this.parts
    try {
      dispatcher.receive(this.peer, data, isBinary)
    } catch (err) {
      // An exception here would end the process.
      log.error({ err, namespace: this.peer.namespace }, 'a message could not be handled')
    }
  }

  /** The connection is over, for the reason that the server gave or else this one. */
  end (code: number, reason: string): void {
    const { peer } = this
    const { hub } = this.#slot
    const { sessions, expiries, log } = this.parts
    hub.connections.delete(peer)
    hub.leave(peer)
    sessions.remove(peer)
    expiries.remove(peer)
    if (hub.connections.size === 0) hub.presence?.detach()
    if (peer.announced) {
      const failed = (err: unknown): void => log.error({ err, namespace: hub.name }, 'onDisconnect failed')
      callSafely(failed, hub.definition.onDisconnect, peer, peer.ended ?? { code, reason })
    }
    this.#slot.free()
  }
}

async function begin ({ welcome }: LifecycleParts, hub: Hub, peer: Peer, resumeRequest: ResumeRequest): Promise<void> {
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
    const { opening, record } = await open(hub, peer, resumeRequest)
    if (!peer.isOpen) return
    const { place } = opening
    const { recovered, missed } = resumptionOf(opening, peer, record)
    const { maxMessageBytes, messages, windowMs } = definition.limits
    const limits = { maxMessageBytes, messages, windowMs }
    const { heartbeat: _, ...shared } = welcome
    const data = { clientId: peer.clientId, userId: peer.userId, namespace: hub.name, limits, recovered, offset: place === null ? null : formatOffset(place), ...(peer.transport.isShared ? shared : welcome), ...expiryOf(peer), ...presenceOf(hub, peer) }
    peer.start({ type: 'connected', data }, place, missed, recovered ? resumeRequest.offset : null)
    if (hub.records !== null) peer.membership.remember(record, place)
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

/** Users who are online, the client's own included; changes that are announced meanwhile follow in order. */
function presenceOf ({ presence }: Hub, { userId }: Peer): { presence?: Array<{ userId: string }> } {
  if (presence === null) return {}
  return { presence: [...new Set([...presence.here, ...(userId === null ? [] : [userId])])].map((userId) => ({ userId })) }
}

/** Looks up where the client stands, and goes on in the rooms that it was in. */
async function open (hub: Hub, peer: Peer, { offset, clientId }: ResumeRequest): Promise<{ opening: Opening, record: ClientRecord | null }> {
  const opening = await hub.carrier.open(offset)
  if (hub.records === null || !opening.recovered || clientId !== peer.clientId) return { opening, record: null }
  const record = await hub.records.read(clientId, peer.userId).catch(() => undefined)
  // Not taken for none: nobody can tell in which rooms it was, so it is to join again.
  if (record === undefined) return { opening: { ...opening, recovered: false, missed: [] }, record: null }
  // The rooms are subscribed only now: what they said between the first read and that is in a second read.
  const again = isOf(record, peer) && await peer.membership.restore(record)
  return { opening: again ? await hub.carrier.open(offset) : opening, record }
}

/** Cuts the old connection of a client that reconnects before the heartbeat found that connection dead. */
function replaceStale (hub: Hub, { userId, clientId }: Peer): void {
  if (userId === null) return
  for (const other of hub.peersOf(`user:${userId}`)) if (other.clientId === clientId) other.transport.terminate()
}
