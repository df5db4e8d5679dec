import { FST_ERR_WS_NAMESPACES_NOT_FOUND } from '../errors.ts'
import type { Definition } from './definition.ts'
import { Directory, type Found } from './directory.ts'
import { measure, type Envelope } from '../delivery/frame.ts'
import { Hub, noDrops, type HubParts, type LocalStats } from './hub.ts'

/** The namespaces of this process that are in use. */
export class Hubs {
  readonly directory: Directory
  /** Below which clients find the namespaces. */
  readonly prefix: string
  readonly #parts: HubParts
  readonly #hubs = new Map<string, Hub>()
  /** Hubs whose name belongs to another definition now, or to none, until their connections have ended. */
  readonly #evicted = new Set<Hub>()

  /** @param cluster shared by all registrations of the plugin that have the same messages */
  constructor (routePrefix: string, parts: HubParts, cluster: object) {
    this.directory = new Directory(cluster)
    this.prefix = routePrefix
    this.#parts = parts
  }

  /**
   * Ends the connections that a wider definition admitted to names of the new one: the new one has to authorise them.
   *
   * @throws FST_ERR_WS_NAMESPACES_EXISTS, _AMBIGUOUS
   */
  define (definition: Definition): void {
    this.directory.add(definition)
    this.#evict((hub) => this.directory.match(hub.found.segments)?.definition !== hub.definition)
    const { pattern, isDynamic } = definition.name
    if (!isDynamic) this.take(this.directory.find(pattern)!)
  }

  /** Ends the namespace in this process, or one instance of a pattern. */
  end (definition: Definition, name: string | null): void {
    if (name === null) this.directory.remove(definition)
    this.#evict((hub) => hub.definition === definition && (name === null || hub.name === name))
  }

  get (name: string): Hub | undefined {
    return this.#hubs.get(name)
  }

  /** The hub of a namespace, made where it is missing. @throws FST_ERR_WS_NAMESPACES_NOT_FOUND where the definition does not stand any more */
  take (found: Found): Hub {
    const known = this.#hubs.get(found.name)
    if (known?.definition === found.definition) return known
    if (this.directory.match(found.segments)?.definition !== found.definition) throw new FST_ERR_WS_NAMESPACES_NOT_FOUND()
    const hub = new Hub(found, this.#parts)
    this.#hubs.set(found.name, hub)
    return hub
  }

  /** Removes a hub that nobody uses. */
  release (hub: Hub): void {
    const isNamed = this.#hubs.get(hub.name) === hub
    if (!hub.isIdle || (isNamed && !hub.definition.name.isDynamic) || (!isNamed && !this.#evicted.has(hub))) return
    if (isNamed) this.#hubs.delete(hub.name)
    this.#evicted.delete(hub)
    hub.close()
  }

  async use<T> (found: Found, use: (hub: Hub) => Promise<T>): Promise<T> {
    const hub = this.take(found)
    try {
      return await use(hub)
    } finally {
      this.release(hub)
    }
  }

  * [Symbol.iterator] (): Iterator<Hub> {
    yield * this.#hubs.values()
    yield * this.#evicted
  }

  /** @throws FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE */
  measure (envelope: Envelope): void {
    measure(envelope, this.#parts.maxOutgoingBytes)
  }

  /** Where clients find a namespace. */
  pathOf (segments: readonly string[]): string {
    return `${this.prefix}/${segments.map(encodeURIComponent).join('/')}`
  }

  /** This process' share of each namespace, or of one where it is in use. */
  local (name?: string): Record<string, LocalStats> {
    const all: Record<string, LocalStats> = Object.create(null)
    for (const [one, hub] of this.#hubs) if (name === undefined || one === name) all[one] = hub.stats(this.pathOf(hub.found.segments))
    return all
  }

  localOf (name: string, path: string): LocalStats {
    return this.local(name)[name] ?? { path, users: 0, connections: 0, messages: 0, rooms: 0, drops: noDrops(), lastActivity: null }
  }

  /** Renews leases, and removes idle hubs. `dead` is the token of an instance that is known to have ended. */
  beat (dead?: string): void {
    for (const hub of [...this]) {
      hub.beat(dead)
      this.release(hub)
    }
  }

  close (): void {
    for (const hub of this) hub.close()
    this.#hubs.clear()
    this.#evicted.clear()
  }

  #evict (isMeant: (hub: Hub) => boolean): void {
    for (const hub of [...this.#hubs.values()].filter(isMeant)) {
      // One instance of a pattern goes when its connections have ended.
      if (this.directory.match(hub.found.segments)?.definition !== hub.definition) {
        this.#hubs.delete(hub.name)
        this.#evicted.add(hub)
        hub.isEvicted = true
      }
      hub.evict()
      this.release(hub)
    }
  }
}
