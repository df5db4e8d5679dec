import { createConnection, given, type Connection } from './connection.ts'
import type { Environment } from './environment.ts'
import { createChannels, SHARED } from './channels.ts'
import { createHandlers } from './handlers.ts'
import type { Liveness } from './machine.ts'
import { createOutbox } from './outbox.ts'
import { decode, encode, type Payload } from './payload.ts'
import { ClientError, type Address, type Client, type ClientOptions, type Connected, type NamespaceOptions, type QueueOptions, type Status, type StatusDetail } from './types.ts'
import { EXPIRING, HEARTBEAT, RENEW } from './wire.ts'

const REQUEST_TIMEOUT_MS = 10_000

/** What only the client itself reads of `connected`; servers before 0.2 say nothing of it. */
interface Welcome extends Connected {
  readonly heartbeat?: Liveness
  readonly reconnectWindowMs?: number
  readonly onceMs?: number
}

/** A client that may share the socket of another. */
interface SharingClient extends Client {
  /** Ends it as that was ended. */
  end: Connection['end']
}

/** `connect`, in an environment of the caller's own. */
export function createClient (address: Address, options: ClientOptions, env: Environment): SharingClient {
  const { token, queue = false, maxWaiting = 32, onStatus, onError } = options
  const watchers = new Set(onStatus && [onStatus])
  let clientId: string | null = null
  let userId: string | null | undefined
  let offset: string | null = null
  let lastId = 0
  const push = (payload: Payload): boolean => connection.push(payload)
  const channels = createChannels(push)
  const namespaces = new Map<string, SharingClient>()
  let resolveReady: (data: Connected) => void
  let rejectReady: (err: ClientError) => void
  const ready = new Promise<Connected>((resolve, reject) => {
    resolveReady = resolve
    rejectReady = reject
  })
  ready.catch(() => {})

  const report = (err: unknown): void => queueMicrotask(() => {
    if (!onError) throw err
    onError(err)
  })

  /** An address or token that fails is asked again, and the status tells of it: without `onError` it must not end a Node process as an uncaught error. */
  const reportIfHandled = (err: unknown): unknown => onError && report(err)

  const handlers = createHandlers((frame) => push(encode(frame)), report)
  const outbox = createOutbox({
    ...(queue ? queue as QueueOptions : { maxMessages: maxWaiting, maxBytes: Infinity }),
    keeps: !!queue,
    push
  }, env)

  const heard = (payload: Parameters<typeof decode>[0]): void => {
    const frame = decode(payload)
    // Another kind of server may send a frame of this type.
    if (!frame || (frame.type === 'connected' && !frame.data?.clientId)) return
    const { type = '', data, replyTo } = frame
    if (channels.heard(frame)) return
    if (type === 'connected') begin(data)
    else if (frame.offset) offset = frame.offset
    if (type === HEARTBEAT || (type === 'offset' && frame.offset)) return
    // Not tried again here: the server sends EXPIRING again.
    if (type === EXPIRING && token) given(async () => push(encode({ type: RENEW, data: await token() }))).catch(reportIfHandled)
    if (replyTo) outbox.settle(String(replyTo), frame)
    else handlers.emit(type, frame)
  }

  const begin = (data: Welcome): void => {
    const isOther = userId !== undefined && data.userId !== userId
    const isSame = data.clientId === clientId
    clientId = data.clientId
    userId = data.userId
    // Missed messages follow with offsets of their own: a connection that breaks before they came resumes from the old offset.
    if (!data.recovered) offset = data.offset
    outbox.begin(data.limits, (isSame && data.onceMs) || 0, isOther)
    resolveReady(data)
    connection.welcomed(data.heartbeat, data.reconnectWindowMs)
    // A socket of several is of none itself.
    if (!data.namespace) channels.turn(true)
  }

  const write = (type: string, data: unknown, hasAnswer: boolean, settle: Parameters<typeof outbox.add>[2], timeoutMs?: number, once = !!queue): string | undefined => {
    const id = String(++lastId)
    return outbox.add(id, encode({ type, data, ...((hasAnswer || queue) && { id }), ...(once && { once }) }), settle, timeoutMs)
  }

  /** An error that answers no request goes to the handlers of `error`. */
  const send = (type: string, data?: unknown): boolean => !write(type, data, false, ({ error }) => {
    if (error && error.code !== 'NO_REPLY') handlers.emit('error', { error })
  })

  const request = (type: string, data?: unknown, { timeoutMs = REQUEST_TIMEOUT_MS }: { timeoutMs?: number } = {}, once?: boolean): Promise<any> => new Promise((resolve, reject) => {
    const code = write(type, data, true, ({ data, error }) => {
      if (error) reject(new ClientError(error.code, error.message))
      else resolve(data)
    }, timeoutMs, once)
    if (code) reject(new ClientError(code))
  })

  const ended = (status: Status, detail: StatusDetail): void => {
    const message = `no connection: ${detail.reason || status}`
    outbox.end(message)
    rejectReady(new ClientError('NOT_CONNECTED', message))
    namespaces.forEach((namespace) => namespace.end(status, detail))
  }

  const connection = createConnection(address, options, env, {
    address (query) {
      query.set('heartbeat', '1')
      if (clientId) query.set('clientId', clientId)
      if (offset) query.set('offset', offset)
    },
    heard,
    lost () {
      outbox.lost()
      // Where the connection ended for good, `ended` gives the namespaces its reason.
      if (!isOver(connection)) channels.turn(false)
    },
    ended,
    status (status, detail) {
      for (const watcher of [...watchers]) given(() => watcher(status, detail)).catch(report)
    },
    missing: (reason) => rejectReady(new ClientError('NOT_FOUND', reason)),
    report: reportIfHandled
  })

  return {
    ready,
    get status () { return connection.status },
    get clientId () { return clientId },
    on: handlers.add,
    onStatus (watcher) {
      watchers.add(watcher)
      return () => watchers.delete(watcher)
    },
    send,
    request,
    // Rooms belong to a connection: `once` would answer with what was done on the one before.
    join: (room) => request('join', { room }, {}, false),
    leave: (room) => request('leave', { room }, {}, false),
    namespace (name: string, { onStatus, onError: failed = onError, maxWaiting: most = maxWaiting, queue: kept = queue }: NamespaceOptions = {}): Client<any, any> {
      let namespace = namespaces.get(name)
      if (!namespace || isOver(namespace)) {
        namespaces.forEach((one, name) => isOver(one) && namespaces.delete(name))
        // No deadline of its own: the socket has one.
        namespaces.set(name, namespace = createClient(SHARED + name, { ...options, onStatus, onError: failed, maxWaiting: most, queue: kept, connectTimeoutMs: 1e9, WebSocket: channels.WebSocket }, { ...env, onWake: channels.onUp }))
        if (isOver(connection)) namespace.end(connection.status, {})
      }
      return namespace
    },
    close: () => connection.end(),
    end: connection.end
  }
}

/** `auth-required` and `disconnected`. */
function isOver ({ status }: { status: Status }): boolean {
  return /-|dis/.test(status)
}
