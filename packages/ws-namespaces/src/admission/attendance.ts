import { Close } from '../codes.ts'
import { formatOffset } from '../delivery/carrier.ts'
import { Connection } from '../namespace/connection.ts'
import type { Seat } from './gate.ts'
import type { Registry } from '../namespace/registry.ts'
import type { Socket } from './socket.ts'

const kAttending = Symbol('ws-namespaces.attending')

/** What the listeners of a socket need. One object and shared functions, because thousands of sockets have them. */
interface Attending {
  readonly registry: Registry
  readonly conn: Connection
  readonly seat: Seat
}

interface Attended extends Socket { [kAttending]: Attending }

/** Longest that onConnect and the look into the history may take. */
const BEGIN_MS = 30_000

/** Takes a socket from its upgrade to its end. */
export function attend (registry: Registry, socket: Socket, seat: Seat, { offset, clientId }: { offset: string | null, clientId: string | null }): void {
  const { hub, admitted } = seat
  const conn = new Connection(hub, socket, admitted.ctx, admitted.session, clientId)
  ;(socket as Attended)[kAttending] = { registry, conn, seat }
  socket.on('message', onMessage)
  socket.on('pong', onPong)
  socket.on('close', onClose)
  socket.on('error', onError)
  // Until the client is told that it is connected nothing of it is read, so nothing is lost and nothing piles up.
  socket.pause()
  replace(conn)
  hub.connections.add(conn)
  registry.sessions.add(conn)
  begin(registry, conn, offset).catch((err: unknown) => {
    registry.log.error({ err, namespace: hub.name }, 'a connection could not begin')
    conn.close(Close.failed, 'the connection could not begin')
    socket.resume()
  })
}

async function begin (registry: Registry, conn: Connection, offset: string | null): Promise<void> {
  const { hub, socket } = conn.internals
  const { definition } = hub
  const heard = [hub.addTopic(conn, 'broadcast')]
  if (conn.userId !== null) heard.push(hub.addTopic(conn, `user:${conn.userId}`))
  if (hub.presence !== null) heard.push(hub.presence.attach())
  const timer = setTimeout(() => conn.close(Close.failed, 'the connection took too long to begin'), BEGIN_MS).unref()
  try {
    await Promise.all(heard)
    if (!conn.isOpen) return
    conn.internals.announced = true
    await definition.onConnect?.(conn)
    const { place, recovered, missed } = await hub.carrier.open(offset)
    if (!conn.isOpen) return
    const { maxMessageBytes, messages, windowMs } = definition.limits
    const data = { clientId: conn.clientId, namespace: hub.name, limits: { maxMessageBytes, messages, windowMs }, recovered, offset: place === null ? null : formatOffset(place) }
    const own = missed.filter(({ topic, except }) => conn.hears(topic) && !except.split('.').includes(conn.clientId))
    conn.start({ type: 'connected', data }, place, own, recovered ? offset : null)
    if (conn.userId !== null) hub.presence?.change(conn.userId, true)
  } finally {
    clearTimeout(timer)
    socket.resume()
  }
}

/** A client that comes back before its old connection was found dead takes its place. */
function replace (conn: Connection): void {
  const { hub } = conn.internals
  if (conn.userId === null) return
  for (const other of hub.connectionsOf(`user:${conn.userId}`)) if (other.clientId === conn.clientId) other.internals.socket.terminate()
}

function onMessage (this: Attended, data: Buffer, isBinary: boolean): void {
  const { registry, conn } = this[kAttending]
  try {
    registry.inbox.receive(conn, data, isBinary)
  } catch (err) {
    // An exception here would end the process.
    registry.log.error({ err, namespace: conn.namespace }, 'a message could not be handled')
  }
}

function onPong (this: Attended): void {
  this[kAttending].conn.internals.heardAt = performance.now()
}

/** The close that follows tells all. */
function onError (this: Attended, err: Error): void {
  const { registry, conn } = this[kAttending]
  registry.log.debug({ err, namespace: conn.namespace }, 'the connection of a client failed')
}

function onClose (this: Attended, code: number, reason: Buffer): void {
  const { registry, conn, seat } = this[kAttending]
  const { hub, ended, announced } = conn.internals
  hub.connections.delete(conn)
  const topics = conn.isGone ? [] : conn.end()
  for (const topic of topics) hub.removeTopic(conn, topic)
  registry.sessions.remove(conn)
  const { userId } = conn
  if (userId !== null && hub.connectionsOf(`user:${userId}`).size === 0) hub.presence?.change(userId, false)
  if (hub.connections.size === 0) hub.presence?.detach()
  if (announced) farewell(registry, conn, ended ?? { code, reason: String(reason) })
  seat.free(registry)
}

function farewell (registry: Registry, conn: Connection, closed: { code: number, reason: string }): void {
  const failed = (err: unknown): void => registry.log.error({ err, namespace: conn.namespace }, 'onDisconnect failed')
  try {
    Promise.resolve(conn.internals.hub.definition.onDisconnect?.(conn, closed)).catch(failed)
  } catch (err) {
    failed(err)
  }
}
