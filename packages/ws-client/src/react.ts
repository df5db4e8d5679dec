import { useMemo, useRef, useSyncExternalStore } from 'react'
import { connect } from './client.ts'
import { ClientError, type Address, type Client, type ClientOptions, type Messages, type ProtocolOf, type Received, type Status, type StatusDetail } from './types.ts'

export interface UseNamespaceOptions extends ClientOptions {
  /** How many messages `messages` holds. @default 100 */
  keep?: number
  /** Called with each message. */
  onMessage?: (data: any, message: Received) => void
}

/** A message by its type. */
export type MessageOf<Out> = { [T in keyof Out & string]: Omit<Received, 'type'> & { readonly type: T, readonly data: Out[T] } }[keyof Out & string]

export interface UsedNamespace<M = Messages, S = Messages> {
  readonly status: Status
  readonly detail: StatusDetail
  /** The last ones, oldest first. */
  readonly messages: ReadonlyArray<MessageOf<ProtocolOf<M, S>['toClient']>>
  /** As those of the client; the same functions at each render. Before the component is mounted there is no client. */
  readonly send: Client<M, S>['send']
  readonly request: Client<M, S>['request']
  /** Null before the component is mounted. */
  readonly client: Client<M, S> | null
}

interface Snapshot {
  readonly status: Status
  readonly detail: StatusDetail
  readonly messages: readonly any[]
  readonly client: Client | null
}

/** A connection that components share. */
interface Entry {
  readonly client: Client
  readonly components: Set<Component>
  snapshot: Snapshot
  closing: ReturnType<typeof setTimeout> | undefined
  end (): void
}

/** A component. */
interface Component {
  onChange (): void
  onMessage (data: unknown, message: Received): void
}

const INITIAL: Snapshot = { status: 'connecting', detail: {}, messages: [], client: null }
/** Of the connection itself. */
const NO_MESSAGES: ReadonlySet<string> = new Set(['connected', 'error', 'presence:join', 'presence:leave', 'connection:expiring'])
const FINAL: ReadonlySet<Status> = new Set(['auth-required', 'disconnected'])
/** StrictMode, and a page that shows something else, unmount and mount again: the connection outlives that. */
const LINGER_MS = 1000

const entries = new Map<unknown, Entry>()

function open (address: Address | Client, { keep = 100, onMessage: _, ...options }: UseNamespaceOptions): Entry {
  const isOwn = typeof address !== 'object'
  const client = isOwn ? connect(address, options) : address
  const components = new Set<Component>()
  const tell = (change: Partial<Snapshot>): void => {
    entry.snapshot = { ...entry.snapshot, ...change }
    for (const component of [...components]) component.onChange()
  }
  const unwatch = client.onStatus((status, detail) => tell({ status, detail }))
  const unhear = client.on('*', (data, message) => {
    if (NO_MESSAGES.has(message.type)) return
    tell({ messages: [...entry.snapshot.messages, { ...message, data }].slice(-keep, keep > 0 ? undefined : 0) })
  })
  const entry: Entry = {
    client,
    components,
    snapshot: { ...INITIAL, status: client.status, client },
    closing: undefined,
    end () {
      unwatch()
      unhear()
      if (isOwn) client.close()
    }
  }
  return entry
}

/** Takes part in the connection of a key; returns what ends it. */
function join (key: unknown, component: Component, make: () => Entry): [Entry, leave: () => void] {
  const found = entries.get(key)
  // One that ended for good, because nobody was logged in, say, is made anew.
  const entry = found === undefined || FINAL.has(found.client.status) ? make() : found
  entries.set(key, entry)
  clearTimeout(entry.closing)
  entry.components.add(component)
  // One for each: what `onMessage` throws goes to `onError`, and concerns no other component.
  const unhear = entry.client.on('*', (data, message) => { if (!NO_MESSAGES.has(message.type)) component.onMessage(data, message) })
  return [entry, () => {
    unhear()
    entry.components.delete(component)
    if (entry.components.size > 0) return
    entry.closing = setTimeout(() => {
      if (entries.get(key) === entry) entries.delete(key)
      entry.end()
    }, LINGER_MS)
  }]
}

/**
 * Connects a component to a namespace for as long as it is mounted. Components with the same address share one connection, with
 * the options of the first; it ends a second after the last of them.
 *
 * @param address as `connect` takes it; a function makes a connection for this component alone. Or a client, which stays open.
 */
export function useNamespace<M = Messages, S = Messages> (address: Address | Client<M, S>, options: UseNamespaceOptions = {}): UsedNamespace<M, S> {
  // Functions are called as the last render passed them.
  const latest = useRef({ address, options })
  latest.current = { address, options }
  const own = useRef<object>({})
  const key = typeof address === 'function' ? own.current : address
  const handle = useMemo(() => createHandle(key, latest as { current: Latest }), [key])
  const snapshot = useSyncExternalStore(handle.subscribe, handle.read, nothing)
  return useMemo(() => ({ ...snapshot, send: handle.send, request: handle.request }) as never, [snapshot, handle])
}

interface Latest { address: Address | Client, options: UseNamespaceOptions }

const nothing = (): Snapshot => INITIAL

function createHandle (key: unknown, latest: { current: Latest }) {
  let entry: Entry | null = null
  const make = (): Entry => {
    const { address, options: { token, onStatus, onError, ...options } } = latest.current
    return open(typeof address === 'function' ? () => (latest.current.address as () => string)() : address, {
      ...options,
      ...(token && { token: () => latest.current.options.token!() }),
      ...(onStatus && { onStatus: (status, detail) => latest.current.options.onStatus?.(status, detail) }),
      ...(onError && { onError: (err) => latest.current.options.onError?.(err) })
    })
  }
  return {
    subscribe (onChange: () => void): () => void {
      const [joined, leave] = join(key, { onChange, onMessage: (data, message) => latest.current.options.onMessage?.(data, message) }, make)
      entry = joined
      return () => {
        entry = null
        leave()
      }
    },
    read: () => entry?.snapshot ?? INITIAL,
    send: (type: string, data?: unknown) => entry?.client.send(type, data) ?? false,
    request: async (type: string, data?: unknown, options?: { timeoutMs?: number }) => {
      if (entry === null) throw new ClientError('NOT_CONNECTED', 'the component is not mounted')
      return entry.client.request(type, data, options)
    }
  }
}
