import { QueuedSocket } from '../delivery/queued-socket.ts'
import type { Socket } from '../delivery/socket.ts'
import { SingleTransport } from '../delivery/transport.ts'
import type { ResumeRequest } from '../namespace/peer.ts'
import { Lifecycle, type LifecycleParts } from './lifecycle.ts'
import type { Slot } from './slot.ts'

const kServed = Symbol('ws-namespaces.served')

/** The listeners are functions that all sockets share, to save memory. */
interface Served extends Socket { [kServed]: Lifecycle }

/** Serves a socket of one namespace from its upgrade to its end. */
export function serveSingle (parts: LifecycleParts, ws: Socket, slot: Slot, resumeRequest: ResumeRequest, heartbeat: boolean): void {
  const socket = new QueuedSocket(ws, heartbeat)
  const lifecycle = new Lifecycle(parts, new SingleTransport(socket, slot.hub.definition.limits.maxBufferedBytes), slot)
  socket.owner = lifecycle.peer
  ;(ws as Served)[kServed] = lifecycle
  ws.on('message', onMessage)
  ws.on('pong', onPong)
  ws.on('close', onClose)
  ws.on('error', onError)
  parts.sockets.add(socket)
  lifecycle.start(resumeRequest)
}

function onMessage (this: Served, data: Buffer, isBinary: boolean): void {
  this[kServed].receive(data, isBinary)
}

function onPong (this: Served): void {
  this[kServed].peer.transport.socket.heardAt = performance.now()
}

/** Logged only: a close event follows. */
function onError (this: Served, err: Error): void {
  const { parts, peer: { namespace } } = this[kServed]
  parts.log.debug({ err, namespace }, 'the connection of a client failed')
}

function onClose (this: Served, code: number, reason: Buffer): void {
  const lifecycle = this[kServed]
  lifecycle.parts.sockets.delete(lifecycle.peer.transport.socket)
  lifecycle.end(code, String(reason))
}
