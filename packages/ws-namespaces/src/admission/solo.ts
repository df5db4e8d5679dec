import { Line } from '../delivery/line.ts'
import type { Socket } from '../delivery/socket.ts'
import { Socketed } from '../delivery/transport.ts'
import type { Wishes } from '../namespace/peer.ts'
import { Attendance, type AttendanceParts } from './attendance.ts'
import type { Seat } from './gate.ts'

const kAttended = Symbol('ws-namespaces.attended')

/** What the listeners of a socket need. One object and shared functions, because thousands of sockets have them. */
interface Attended extends Socket { [kAttended]: { readonly parts: AttendanceParts, readonly attendance: Attendance } }

/** Takes a socket of one namespace from its upgrade to its end. */
export function attendAlone (parts: AttendanceParts, socket: Socket, seat: Seat, wishes: Wishes, heartbeat: boolean): void {
  const line = new Line(socket, heartbeat)
  const attendance = new Attendance(parts, new Socketed(line, seat.hub.definition.limits.maxBufferedBytes), seat, wishes)
  line.owner = attendance.peer
  ;(socket as Attended)[kAttended] = { parts, attendance }
  socket.on('message', onMessage)
  socket.on('pong', onPong)
  socket.on('close', onClose)
  socket.on('error', onError)
  parts.lines.add(line)
  attendance.start(wishes)
}

function onMessage (this: Attended, data: Buffer, isBinary: boolean): void {
  this[kAttended].attendance.receive(data, isBinary)
}

function onPong (this: Attended): void {
  this[kAttended].attendance.peer.transport.line.heardAt = performance.now()
}

/** The close that follows tells all. */
function onError (this: Attended, err: Error): void {
  const { parts, attendance: { peer: { namespace } } } = this[kAttended]
  parts.log.debug({ err, namespace }, 'the connection of a client failed')
}

function onClose (this: Attended, code: number, reason: Buffer): void {
  const { parts, attendance } = this[kAttended]
  parts.lines.delete(attendance.peer.transport.line)
  attendance.end(code, String(reason))
}
