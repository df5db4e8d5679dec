import type { Protocol } from '@jpulse/ws-client'
import type { TSchema } from 'typebox'
import { FST_ERR_WS_NAMESPACES_INVALID_NAME, FST_ERR_WS_NAMESPACES_NOT_FOUND } from '../errors.ts'
import type { Identity } from '../namespace/connection.ts'
import { define, type NamespaceOptions, type Returned } from '../namespace/definition.ts'
import type { LocalStats } from '../namespace/hub.ts'
import type { Hubs } from '../namespace/hubs.ts'
import type { Params, ParamsOf } from '../namespace/names.ts'
import { NamespaceHandle, type HandleParts, type Namespace } from './namespace.ts'

/** The namespaces of an application: `fastify.wsNamespaces`. */
export interface WsNamespaces {
  /**
   * Makes a namespace, at any time. A name with parameters, `rooms/:id`, stands for as many as there are ids: each is there
   * from the first client that is let in until the last one leaves. Where several match a name the narrowest answers,
   * `rooms/lobby` before `rooms/:id`.
   *
   * @typeParam Schema follows from the option `schema`; or a `Protocol` of @jpulse/ws-client: what clients and the server send, in one declaration
   * @throws FST_ERR_WS_NAMESPACES_INVALID_NAME, _INVALID_OPTION, _EXISTS, _AMBIGUOUS where another matches the same names and neither is narrower
   */
  create<Schema extends TSchema = TSchema, Ctx extends Identity = Identity, Name extends string = string> (name: Name, options?: NamespaceOptions<Schema, Ctx, any, ParamsOf<Name>>): Namespace<Schema, Ctx>
  /**
   * As above, `create<Chat>()('chat', { … })`: `conn.ctx` follows from `authorize` beside a `Protocol`, and `onMessage` returns what that
   * declares. A handler that returns something of the namespace itself needs its type: `const chat: Namespace<Chat> = …`.
   */
  create<Schema extends TSchema & Protocol> (): <Ctx extends Identity = Identity, Name extends string = string>(name: Name, options?: NamespaceOptions<Schema, Ctx, Returned<Schema>, ParamsOf<Name>>) => Namespace<Schema, Ctx>
  /**
   * The namespace of a decoded name, also one instance of a pattern: `rooms/a:b`, whether it has clients or not; null where
   * there is none. Segments are told apart by `/`: give an id that may contain one as a parameter, `get('rooms/:id', { id })`.
   *
   * @throws FST_ERR_WS_NAMESPACES_INVALID_NAME where a parameter is missing, or not a text of 1 to 512 well-formed characters
   */
  get<Schema extends TSchema = TSchema> (name: string, params?: Params): Namespace<Schema> | null
  /** This process' share of each namespace, instances of patterns by their own names. */
  local (): Record<string, LocalStats>
  /**
   * Takes no more connections and ends all with 1001, in slices, within `drainMs`. `app.close()` does it; who waits for
   * connections to end before that calls it first. Further calls return the same promise.
   */
  drain (): Promise<void>
}

export class Decorator implements WsNamespaces {
  readonly #hubs: Hubs
  readonly #parts: HandleParts
  readonly #maxPayloadBytes: number
  readonly drain: () => Promise<void>

  constructor (parts: HandleParts, maxPayloadBytes: number, drain: () => Promise<void>) {
    this.#hubs = parts.hubs
    this.#parts = parts
    this.#maxPayloadBytes = maxPayloadBytes
    this.drain = drain
  }

  create (...given: [name?: string, options?: NamespaceOptions<any, any, any, any> | undefined]): any {
    return given.length === 0 ? this.#create.bind(this) : this.#create(...given as [string])
  }

  get<Schema extends TSchema = TSchema> (name: string, params?: Params): Namespace<Schema> | null {
    const { directory } = this.#hubs
    const definition = directory.byPattern(name)
    if (params === undefined) return definition === null ? this.find(name) as Namespace<Schema> | null : new NamespaceHandle(definition, directory.find(name), this.#parts)
    if (definition === null) return null
    const segments = definition.name.fill(params)
    if (segments === null) throw new FST_ERR_WS_NAMESPACES_INVALID_NAME(`needs a text of 1 to 512 well-formed characters for each of ${definition.name.parameters.join(', ')}`)
    const found = directory.match(segments)!
    return new NamespaceHandle(found.definition, found, this.#parts)
  }

  #create (name: string, options: NamespaceOptions<any, any, any, any> = {}): Namespace {
    const definition = define(name, options as unknown as NamespaceOptions<never, never>, this.#maxPayloadBytes)
    this.#hubs.define(definition)
    return new NamespaceHandle(definition, this.#hubs.directory.find(name), this.#parts)
  }

  /** As `get`, but a pattern itself is none. */
  find (name: string): Namespace | null {
    const found = this.#hubs.directory.find(name)
    return found === null ? null : new NamespaceHandle(found.definition, found, this.#parts)
  }

  /** @throws FST_ERR_WS_NAMESPACES_NOT_FOUND */
  must (name: string): Namespace {
    const found = this.find(name)
    if (found === null) throw new FST_ERR_WS_NAMESPACES_NOT_FOUND()
    return found
  }

  local (): Record<string, LocalStats> {
    return this.#hubs.local()
  }
}
