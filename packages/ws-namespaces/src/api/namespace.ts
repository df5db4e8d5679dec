import { checkCall } from '@jpulse/plugin-kit'
import type { Messages } from '@jpulse/ws-client'
import type { TSchema } from 'typebox'
import type { Cluster, ConnectionInfo, NamespaceStats } from '../cluster/cluster.ts'
import type { Answer, Requests } from '../cluster/requests.ts'
import { Close } from '../codes.ts'
import type { Delivered } from '../delivery/carrier.ts'
import { envelope, Frame, type Envelope } from '../delivery/frame.ts'
import type { Topic } from '../delivery/keys.ts'
import { FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT, FST_ERR_WS_NAMESPACES_INVALID_NAME, FST_ERR_WS_NAMESPACES_NOT_CONNECTED } from '../errors.ts'
import { isName } from '../ids.ts'
import type { Connection, Identity, SendOptions, Sent, TypeSent } from '../namespace/connection.ts'
import type { Definition } from '../namespace/definition.ts'
import type { Found } from '../namespace/directory.ts'
import type { LocalStats } from '../namespace/hub.ts'
import type { Hubs } from '../namespace/hubs.ts'
import { checkClose, Peer, publicCtx } from '../namespace/peer.ts'
import { invalidOption } from '../options.ts'
import type { Present } from '../presence/presence.ts'
import { describeMessages, type AsyncApi } from './async-api.ts'

declare const kTypes: unique symbol

export interface PublishOptions extends SendOptions {
  /** Who does not get it: connections, or their client ids. */
  except?: Connection<any, any> | string | ReadonlyArray<Connection<any, any> | string> | undefined
  /** Who sends it: receivers get `ctx` with what others may know of it. */
  from?: Connection<any, any> | undefined
}

/** What became of a message. `local`: only clients of this process are known to get it. */
export interface PublishResult { readonly delivered: Delivered }

/** What a client answers to a question of a type: by the `clientAnswers` of the `Protocol`. */
type AnswerTo<Schema, T> = Schema extends { clientAnswers: infer Answers extends Messages } ? T extends keyof Answers ? Answers[T] : unknown : unknown

export interface RequestOptions {
  /** Longest wait for the answer, in milliseconds, 1 to 600000. @default 5000 */
  timeoutMs?: number | undefined
}

/**
 * A namespace: what the application sends to its clients, and who they are. That of a pattern, `rooms/:id`, is none of its
 * instances: it can be closed and described; what concerns clients throws FST_ERR_WS_NAMESPACES_INVALID_NAME.
 */
export interface Namespace<Schema extends TSchema = TSchema, Ctx extends Identity = Identity> {
  /** As `get` takes it: `rooms/a:b`. Of a pattern, the pattern: `rooms/:id`. */
  readonly name: string
  /** Types only: what clients send, and who they are. */
  readonly [kTypes]?: [Schema, Ctx]
  /** To every client of the namespace. @throws FST_ERR_WS_NAMESPACES_INVALID_DATA, _MESSAGE_TOO_LARGE */
  broadcast<T extends TypeSent<Schema>> (type: T, ...rest: Sent<Schema, T, PublishOptions>): Promise<PublishResult>
  /** To every connection of a user. @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT, _INVALID_DATA, _MESSAGE_TOO_LARGE */
  toUser<T extends TypeSent<Schema>> (userId: string, type: T, ...rest: Sent<Schema, T, PublishOptions>): Promise<PublishResult>
  /** To every connection in a room. @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT, _INVALID_DATA, _MESSAGE_TOO_LARGE */
  toRoom<T extends TypeSent<Schema>> (room: string, type: T, ...rest: Sent<Schema, T, PublishOptions>): Promise<PublishResult>
  /**
   * Asks a client and resolves with the data of its answer; of a user's connections all are asked, and the first
   * good answer counts; where there is none, the error of one that tried.
   *
   * @throws NOT_CONNECTED, REQUEST_TIMEOUT, FST_ERR_WS_NAMESPACES_REQUEST_FAILED, _INVALID_ARGUMENT, _INVALID_DATA, _MESSAGE_TOO_LARGE
   */
  request<R = void, T extends TypeSent<Schema> = TypeSent<Schema>> (whom: string | Connection<any, any>, type: T, ...rest: Sent<Schema, T, RequestOptions>): Promise<R extends void ? AnswerTo<Schema, T> : R>
  /**
   * Asks every connection of a user, or in a room, on all instances, when the iteration begins. Yields each answer as it comes, with
   * `clientId` and `userId` of who gave it, until all have answered or `timeoutMs` is over; who does not answer is not among them. Of one that answers more than once the first answer counts.
   *
   * @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT, _INVALID_DATA, _MESSAGE_TOO_LARGE
   */
  requestEach<T extends TypeSent<Schema>> (whom: { userId: string } | { room: string }, type: T, ...rest: Sent<Schema, T, RequestOptions>): AsyncIterable<Answer<AnswerTo<Schema, T>>>
  /** Whether a user is connected, and to which instances. */
  online (userId: string): Promise<{ online: boolean, instances: string[] }>
  /** Who is connected, or who is in a room, with the instances where. */
  presence (room?: string): Promise<Present[]>
  /** The namespace in the whole cluster. */
  stats (): Promise<NamespaceStats>
  /** A user's connections, on every instance. */
  connections (userId: string): Promise<ConnectionInfo[]>
  /**
   * Has all of a user's connections enter a room, on every instance. Resolves with how many did, when the room is heard: one that is in
   * `limits.rooms` rooms does not.
   *
   * @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT
   */
  joinUser (userId: string, room: string): Promise<number>
  /**
   * Puts all of a user's connections out of a room, on every instance. One that is just broken does not come back into it, nor
   * gets what it missed there. Resolves with how many there were.
   *
   * @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT
   */
  leaveUser (userId: string, room: string): Promise<number>
  /**
   * Ends a user's connections on every instance. With 4403 or 4401 clients do not come back by themselves; `authorize` decides
   * who may connect anew. Resolves with how many there were.
   *
   * @param code @default 4403
   */
  disconnect (userId: string, code?: number, reason?: string): Promise<number>
  /** Ends the connections to this process with 1001; of a namespace or a pattern as it was created, takes no more here. */
  close (): Promise<void>
  /** The messages of the namespace as an AsyncAPI 3.0 document, with their JSON Schemas. */
  asyncApi (): AsyncApi
  /** This process' share. */
  local (): LocalStats
}

/** What handles of namespaces share. */
export interface HandleParts {
  readonly hubs: Hubs
  readonly requests: Requests
  readonly cluster: Cluster
}

export class NamespaceHandle<Schema extends TSchema = TSchema, Ctx extends Identity = Identity> implements Namespace<Schema, Ctx> {
  readonly name: string
  readonly #definition: Definition
  /** Null for a pattern. */
  readonly #found: Found | null
  readonly #parts: HandleParts

  constructor (definition: Definition, found: Found | null, parts: HandleParts) {
    this.name = found?.name ?? definition.name.pattern
    this.#definition = definition
    this.#found = found
    this.#parts = parts
  }

  async broadcast (type: string, data?: unknown, options?: PublishOptions): Promise<PublishResult> {
    return this.#publish('broadcast', type, data, options)
  }

  async toUser (userId: string, type: string, data?: unknown, options?: PublishOptions): Promise<PublishResult> {
    return this.#publish(`user:${checkName('userId', userId)}`, type, data, options)
  }

  async toRoom (room: string, type: string, data?: unknown, options?: PublishOptions): Promise<PublishResult> {
    return this.#publish(`room:${checkName('room', room)}`, type, data, options)
  }

  async request (whom: string | Connection<any, any>, type: string, data?: unknown, options: RequestOptions = {}): Promise<any> {
    const { timeoutMs = 5000 } = checked(options, ['timeoutMs'])
    checkInteger('timeoutMs', timeoutMs, 1, 600_000)
    const { requests, cluster } = this.#parts
    if (!(whom instanceof Peer)) {
      const [{ name }, userId] = [this.#one, checkName('userId', whom)]
      return requests.ask((id) => cluster.send(name, { userId }, this.#question(type, data, id)), timeoutMs)
    }
    if (!whom.isOpen) throw new FST_ERR_WS_NAMESPACES_NOT_CONNECTED()
    return requests.ask((id) => {
      const { json, bytes } = this.#question(type, data, id)
      whom.deliver(new Frame(json, bytes), null, false)
      return 1
    }, timeoutMs)
  }

  requestEach (whom: { userId: string } | { room: string }, type: string, data?: unknown, options: RequestOptions = {}): AsyncIterable<Answer<any>> {
    const { timeoutMs = 5000 } = checked(options, ['timeoutMs'])
    checkInteger('timeoutMs', timeoutMs, 1, 600_000)
    const { requests, cluster } = this.#parts
    const { name } = this.#one
    const target = 'room' in whom ? { room: checkName('room', whom.room) } : { userId: checkName('userId', whom.userId) }
    // Throws at the call where the data cannot be sent, and not at the first `next()`.
    this.#question(type, data)
    return requests.each(async (id) => cluster.send(name, target, this.#question(type, data, id)), timeoutMs)
  }

  async online (userId: string): Promise<{ online: boolean, instances: string[] }> {
    const instances = (await this.#present(checkName('userId', userId)))[0]?.instances ?? []
    return { online: instances.length > 0, instances }
  }

  async presence (room?: string): Promise<Present[]> {
    return room === undefined ? this.#present() : this.#parts.cluster.users(this.#one.name, { room: checkName('room', room) })
  }

  async stats (): Promise<NamespaceStats> {
    return this.#parts.cluster.statsOf(this.name)
  }

  async connections (userId: string): Promise<ConnectionInfo[]> {
    return this.#parts.cluster.connections(this.#one.name, checkName('userId', userId))
  }

  async joinUser (userId: string, room: string): Promise<number> {
    return this.#parts.cluster.move('join', this.#one.name, checkName('userId', userId), checkName('room', room))
  }

  async leaveUser (userId: string, room: string): Promise<number> {
    const found = this.#one
    const left = await this.#parts.cluster.move('leave', found.name, checkName('userId', userId), checkName('room', room))
    await this.#parts.hubs.use(found, (hub) => hub.forget(userId, room))
    return left
  }

  async disconnect (userId: string, code: number = Close.forbidden, reason = ''): Promise<number> {
    checkClose(code, reason)
    return this.#parts.cluster.disconnect(this.#one.name, checkName('userId', userId), code, reason)
  }

  async close (): Promise<void> {
    const isInstance = this.#found !== null && this.#definition.name.isDynamic
    this.#parts.hubs.end(this.#definition, isInstance ? this.#found.name : null)
  }

  asyncApi (): AsyncApi {
    return describeMessages(this.#definition, this.#path)
  }

  local (): LocalStats {
    return this.#parts.hubs.localOf(this.name, this.#path)
  }

  /** @throws FST_ERR_WS_NAMESPACES_INVALID_NAME for a pattern */
  get #one (): Found {
    if (this.#found === null) throw new FST_ERR_WS_NAMESPACES_INVALID_NAME('has parameters: take one instance with get(name, params)')
    return this.#found
  }

  get #path (): string {
    const { hubs } = this.#parts
    return this.#found === null ? `${hubs.prefix}/${this.name}` : hubs.pathOf(this.#found.segments)
  }

  /** @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT, _INVALID_DATA, _MESSAGE_TOO_LARGE */
  #question (type: string, data: unknown, id?: string): Envelope {
    const message = envelope(type, data, { id })
    this.#parts.hubs.measure(message)
    return message
  }

  async #present (userId?: string): Promise<Present[]> {
    const found = this.#one
    if (this.#definition.presence === null) return this.#parts.cluster.users(found.name, userId === undefined ? {} : { userId })
    return this.#parts.hubs.use(found, (hub) => hub.presence!.list(userId))
  }

  async #publish (topic: Topic, type: string, data: unknown, options: PublishOptions = {}): Promise<PublishResult> {
    const { except = [], from, volatile = false } = checked(options, ['except', 'from', 'volatile'])
    const found = this.#one
    const without = [except].flat().map((one) => typeof one === 'string' ? one : String((one as Connection | null)?.clientId ?? ''))
    if (!without.every((id) => /^[A-Za-z0-9_-]{1,64}$/.test(id))) throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT('except', 'connections or their client ids')
    const message = envelope(type, data, from === undefined ? undefined : { ctx: publicCtx(from as Peer) })
    const delivered = await this.#parts.hubs.use(found, (hub) => hub.publish({ topic, ...message, except: without.join('.'), volatile }))
    return { delivered }
  }
}

/** A name that means nothing would be a default without a word: who is excepted would get the message. @throws FST_ERR_WS_NAMESPACES_INVALID_OPTION */
function checked<Options extends object> (options: Options, names: ReadonlyArray<keyof Options & string>): Options {
  checkCall(options, names, invalidOption)
  return options
}

function checkName (what: string, value: unknown): string {
  if (isName(value)) return value
  throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT(what, 'a text of 1 to 512 well-formed characters')
}

function checkInteger (what: string, value: unknown, least: number, most: number): void {
  if (Number.isInteger(value) && Number(value) >= least && Number(value) <= most) return
  throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT(what, `a whole number from ${least} to ${most}`)
}
