import type { AppCluster, Member } from '@jpulse/cluster-broadcast'
import type { RedisLink } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import { Carriers } from '../delivery/carriers.ts'
import { Cluster } from '../cluster/cluster.ts'
import { Close } from '../codes.ts'
import type { Connection } from './connection.ts'
import type { Definition } from './definition.ts'
import { Drain } from '../admission/drain.ts'
import { FST_ERR_WS_NAMESPACES_EXISTS, FST_ERR_WS_NAMESPACES_NOT_FOUND } from '../errors.ts'
import { Hub, type HubParts, type LocalStats } from './hub.ts'
import { Inbox } from './inbox.ts'
import type { Params } from './names.ts'
import type { ResolvedOptions } from '../options.ts'
import { MemoryPresence } from '../presence/presence.ts'
import { RedisPresence } from '../presence/redis-presence.ts'
import { Requests } from '../cluster/requests.ts'
import { defineScripts as definePresenceScripts } from '../presence/scripts.ts'
import { WatchedSessions } from '../admission/sessions.ts'

/** The namespaces of this process, and what they share. */
export class Registry {
  readonly options: ResolvedOptions
  readonly log: FastifyBaseLogger
  readonly requests: Requests
  readonly cluster: Cluster
  readonly inbox: Inbox
  readonly sessions = new WatchedSessions()
  readonly drain: Drain
  readonly #link: RedisLink
  readonly #appCluster: AppCluster
  readonly #carriers: Carriers
  readonly #bus
  readonly #definitions = new Map<string, Definition>()
  readonly #hubs = new Map<string, Hub>()
  readonly #closed = new Set<Definition>()

  constructor (link: RedisLink, appCluster: AppCluster, options: ResolvedOptions, log: FastifyBaseLogger) {
    this.options = options
    this.log = log
    this.#link = link
    this.#appCluster = appCluster
    this.#carriers = new Carriers(link, appCluster, options.publishWaitMs, log)
    this.#bus = appCluster.internal('ws')
    this.requests = new Requests(this.#bus, appCluster.bootId)
    this.cluster = new Cluster(this.#bus, link, this)
    this.inbox = new Inbox(this.requests)
    this.drain = new Drain(() => this.connections(), options.drainMs)
    if (link.client !== null) definePresenceScripts(link.client)
  }

  async open (): Promise<void> {
    await Promise.all([
      this.requests.open(),
      this.cluster.open(),
      this.#appCluster.internal('session').subscribe('session:ended', ({ data }) => this.sessions.onEnded(data as never))
    ])
    this.#appCluster.on('leave', this.#onLeave)
  }

  /** @throws FST_ERR_WS_NAMESPACES_EXISTS */
  define (definition: Definition): void {
    const { pattern, isDynamic } = definition.name
    if (this.#definitions.has(pattern)) throw new FST_ERR_WS_NAMESPACES_EXISTS(pattern)
    this.#definitions.set(pattern, definition)
    if (!isDynamic) this.#hubs.set(pattern, this.#makeHub(pattern, definition))
  }

  /** Finds who answers for decoded segments of a path. */
  match (segments: readonly string[]): { name: string, definition: Definition, params: Params } | null {
    return this.#find(({ name }) => name.match(segments), segments.join('/'))
  }

  /** As `match`, by a name in one string; a pattern's own name finds it too. */
  find (name: string): { name: string, definition: Definition } | null {
    const own = this.#definitions.get(name)
    return own === undefined ? this.#find((definition) => definition.name.matchName(name), name) : { name, definition: own }
  }

  hub (name: string): Hub | undefined {
    return this.#hubs.get(name)
  }

  /** The hub of a name, made where it is missing. @throws FST_ERR_WS_NAMESPACES_NOT_FOUND */
  takeHub (name: string): Hub {
    const known = this.#hubs.get(name)
    if (known !== undefined) return known
    const found = this.find(name)
    if (found === null) throw new FST_ERR_WS_NAMESPACES_NOT_FOUND()
    const hub = this.#makeHub(name, found.definition)
    this.#hubs.set(name, hub)
    return hub
  }

  /** Removes the hub of a pattern's instance that nobody uses. */
  release (hub: Hub): void {
    if (!hub.definition.name.isDynamic || !hub.isIdle || this.#hubs.get(hub.name) !== hub) return
    this.#hubs.delete(hub.name)
    hub.close()
  }

  async withHub<T> (name: string, use: (hub: Hub) => Promise<T>): Promise<T> {
    const hub = this.takeHub(name)
    try {
      return await use(hub)
    } finally {
      this.release(hub)
    }
  }

  * connections (): Iterable<Connection> {
    for (const hub of this.#hubs.values()) yield * hub.connections
  }

  local (): Record<string, LocalStats> {
    const all: Record<string, LocalStats> = Object.create(null)
    for (const [name, hub] of this.#hubs) all[name] = hub.stats()
    return all
  }

  localIfAny (name: string): Record<string, LocalStats> {
    const hub = this.#hubs.get(name)
    return hub === undefined ? {} : { [name]: hub.stats() }
  }

  localOf (name: string): LocalStats {
    return this.#hubs.get(name)?.stats() ?? {
      path: this.pathOf(name), users: 0, connections: 0, messages: 0, rooms: 0, drops: { oversize: 0, rateLimit: 0, invalid: 0, slow: 0 }, lastActivity: null
    }
  }

  /** Where clients find a namespace. */
  pathOf (name: string): string {
    const found = this.find(name)
    const segments = found === null || found.definition.name.pattern === name ? name.split('/') : encodedSegments(name, found.definition)
    return `${this.options.routePrefix}/${segments.join('/')}`
  }

  isClosed (definition: Definition): boolean {
    return this.#closed.has(definition)
  }

  async closeNamespace (definition: Definition, name: string): Promise<void> {
    const isPattern = name === definition.name.pattern
    if (isPattern) {
      this.#closed.add(definition)
      this.#definitions.delete(name)
    }
    const hubs = [...this.#hubs.values()].filter((hub) => hub.definition === definition && (isPattern || hub.name === name))
    for (const hub of hubs) for (const conn of [...hub.connections]) conn.close(Close.goingAway, 'namespace closed')
    if (isPattern) for (const hub of hubs) if (!hub.definition.name.isDynamic && hub.connections.size === 0) this.#forget(hub)
  }

  /** Called by the heartbeat: renews what lives by it. */
  beat (): void {
    for (const hub of this.#hubs.values()) {
      if (hub.connections.size > 0) hub.carrier.keep()
      hub.presence?.beat().catch(() => {})
      if (hub.connections.size === 0) {
        if (this.#closed.has(hub.definition)) this.#forget(hub)
        else this.release(hub)
      }
    }
    this.#carriers.sweep((name) => this.#hubs.has(name))
  }

  /** Says goodbye, bounded by the commands' time. */
  async close (): Promise<void> {
    this.#appCluster.off('leave', this.#onLeave)
    await Promise.all([...this.#hubs.values()].map((hub) => hub.presence?.beat().catch(() => {})))
    await this.#carriers.settle([...this.#hubs.values()].map(({ carrier }) => carrier))
    for (const hub of this.#hubs.values()) hub.close()
    this.#hubs.clear()
    this.#carriers.close()
  }

  readonly #onLeave = ({ bootId, instanceId }: Member): void => {
    for (const hub of this.#hubs.values()) hub.presence?.beat(`${bootId}/${instanceId}`).catch(() => {})
  }

  #find (match: (definition: Definition) => Params | null, name: string): { name: string, definition: Definition, params: Params } | null {
    const exact = this.#definitions.get(name)
    if (exact !== undefined && !exact.name.isDynamic) return { name, definition: exact, params: Object.freeze(Object.create(null)) as Params }
    for (const definition of this.#definitions.values()) {
      const params = definition.name.isDynamic ? match(definition) : null
      if (params !== null) return { name, definition, params }
    }
    return null
  }

  #forget (hub: Hub): void {
    if (this.#hubs.get(hub.name) === hub) this.#hubs.delete(hub.name)
    hub.close()
  }

  #makeHub (name: string, definition: Definition): Hub {
    const subscriber = this.#link.subscriber()
    const { bootId, instanceId } = this.#appCluster
    const parts: HubParts = {
      path: this.pathOf(name),
      maxOutgoingBytes: this.options.maxOutgoingBytes,
      log: this.log,
      carrier: (sink) => this.#carriers.make(name, definition.history, sink),
      presence: (sink) => {
        if (!definition.presence) return null
        return subscriber === null
          ? new MemoryPresence(instanceId, sink)
          : new RedisPresence(name, { link: this.#link, subscriber, token: `${bootId}/${instanceId}`, leaseMs: this.options.presenceLeaseMs, log: this.log }, sink)
      }
    }
    return new Hub(name, definition, parts)
  }
}

/** The segments of a pattern's instance, as they stand in a path. */
function encodedSegments (name: string, { name: { pattern } }: Definition): string[] {
  const last = pattern.split('/').length - 1
  const parts = name.split('/')
  return [...parts.slice(0, last), parts.slice(last).join('/')].map(encodeURIComponent)
}
