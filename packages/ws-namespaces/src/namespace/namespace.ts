import type { TSchema } from 'typebox'
import { describeMessages, type AsyncApi } from '../http/async-api.ts'
import type { Delivered } from '../delivery/carrier.ts'
import { checkClose, Connection, type SendOptions } from './connection.ts'
import type { Definition, Identity } from './definition.ts'
import { FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT, FST_ERR_WS_NAMESPACES_NOT_CONNECTED } from '../errors.ts'
import { envelope, textFrame } from '../delivery/frame.ts'
import type { LocalStats } from './hub.ts'
import { publicCtx } from './inbox.ts'
import type { Topic } from '../delivery/keys.ts'
import { isName } from './names.ts'
import type { Present } from '../presence/presence.ts'
import type { ClusterStats } from '../cluster/cluster.ts'
import type { Registry } from './registry.ts'

export interface PublishOptions extends SendOptions {
  /** Who does not get it: connections, or their client ids. */
  except?: Connection<any> | string | ReadonlyArray<Connection<any> | string>
  /** Who sends it: receivers get `ctx` with what others may know of it. */
  from?: Connection<any>
}

/** What became of a message. `local`: only clients of this process are known to get it. */
export interface PublishResult { readonly delivered: Delivered }

export interface RequestOptions {
  /** Longest wait for the answer, in milliseconds, 1 to 600000. @default 5000 */
  timeoutMs?: number
}

/** A namespace: what the application sends to its clients, and who they are. */
export class Namespace<Schema extends TSchema = TSchema, Ctx extends Identity = Identity> {
  /** Decoded: `rooms/a:b`. Of a pattern, the pattern: `rooms/:id`. */
  readonly name: string
  readonly #definition: Definition
  readonly #registry: Registry
  /** Types only: what clients send, and who they are. */
  declare protected readonly types: [Schema, Ctx]

  /** @internal */
  constructor (name: string, definition: Definition, registry: Registry) {
    this.name = name
    this.#definition = definition
    this.#registry = registry
  }

  /** To every client of the namespace. @throws FST_ERR_WS_NAMESPACES_INVALID_DATA, _MESSAGE_TOO_LARGE */
  broadcast (type: string, data?: unknown, options?: PublishOptions): Promise<PublishResult> {
    return this.#publish('broadcast', type, data, options)
  }

  /** To every connection of a user. @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT, _INVALID_DATA, _MESSAGE_TOO_LARGE */
  async toUser (userId: string, type: string, data?: unknown, options?: PublishOptions): Promise<PublishResult> {
    return this.#publish(`user:${checkName('userId', userId)}`, type, data, options)
  }

  /** To every connection in a room. @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT, _INVALID_DATA, _MESSAGE_TOO_LARGE */
  async toRoom (room: string, type: string, data?: unknown, options?: PublishOptions): Promise<PublishResult> {
    return this.#publish(`room:${checkName('room', room)}`, type, data, options)
  }

  /**
   * Asks a client and resolves with the data of its answer; of a user's connections all are asked, and the first answer counts.
   *
   * @throws NOT_CONNECTED, REQUEST_TIMEOUT, FST_ERR_WS_NAMESPACES_REQUEST_FAILED
   */
  async request (whom: string | Connection<any>, type: string, data?: unknown, { timeoutMs = 5000 }: RequestOptions = {}): Promise<unknown> {
    checkInteger('timeoutMs', timeoutMs, 1, 600_000)
    const { requests, cluster } = this.#registry
    if (!(whom instanceof Connection)) {
      const userId = checkName('userId', whom)
      return requests.ask((id) => cluster.send(this.name, userId, envelope(type, data, { id })), timeoutMs)
    }
    if (!whom.isOpen) throw new FST_ERR_WS_NAMESPACES_NOT_CONNECTED()
    return requests.ask((id) => {
      whom.deliver(textFrame(envelope(type, data, { id })), null, false)
      return 1
    }, timeoutMs)
  }

  /** Whether a user is connected, and to which instances. */
  async online (userId: string): Promise<{ online: boolean, instances: string[] }> {
    const instances = (await this.#present(checkName('userId', userId)))[0]?.instances ?? []
    return { online: instances.length > 0, instances }
  }

  /** Who is connected, or who is in a room, with the instances where. */
  async presence (room?: string): Promise<Present[]> {
    return room === undefined ? this.#present() : this.#registry.cluster.users(this.name, { room: checkName('room', room) })
  }

  /** The namespace in the whole cluster. */
  async stats (): Promise<ClusterStats[string]> {
    return this.#registry.cluster.statsOf(this.name)
  }

  /** Ends a user's connections on every instance. Resolves with how many there were. */
  async disconnect (userId: string, code = 1000, reason = ''): Promise<number> {
    checkClose(code, reason)
    return this.#registry.cluster.disconnect(this.name, checkName('userId', userId), code, reason)
  }

  /** Ends the connections to this process with 1001 and takes no more here. */
  async close (): Promise<void> {
    await this.#registry.closeNamespace(this.#definition, this.name)
  }

  /** The messages of the namespace as an AsyncAPI 3.0 document, with their JSON Schemas. */
  asyncApi (): AsyncApi {
    return describeMessages(this.#definition, this.#registry.pathOf(this.name))
  }

  /** This process' share. */
  local (): LocalStats {
    return this.#registry.localOf(this.name)
  }

  async #present (userId?: string): Promise<Present[]> {
    const { cluster } = this.#registry
    if (!this.#definition.presence) return cluster.users(this.name, userId === undefined ? {} : { userId })
    return this.#registry.withHub(this.name, (hub) => hub.presence!.list(userId))
  }

  async #publish (topic: Topic, type: string, data: unknown, { except = [], from, volatile = false }: PublishOptions = {}): Promise<PublishResult> {
    const without = [except].flat().map((one) => typeof one === 'string' ? one : (one as Connection).clientId)
    if (!without.every((id) => /^[A-Za-z0-9_-]{1,64}$/.test(id))) throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT('except', 'connections or their client ids')
    const json = envelope(type, data, from === undefined ? undefined : { ctx: publicCtx(from) })
    const delivered = await this.#registry.withHub(this.name, (hub) => hub.publish({ topic, json, except: without.join('.'), volatile }))
    return { delivered }
  }
}

function checkName (what: string, value: unknown): string {
  if (isName(value)) return value
  throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT(what, 'a text of 1 to 512 well-formed characters')
}

function checkInteger (what: string, value: unknown, least: number, most: number): void {
  if (Number.isInteger(value) && Number(value) >= least && Number(value) <= most) return
  throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT(what, `a whole number from ${least} to ${most}`)
}
