import type { TSchema } from 'typebox'
import { define, type Identity, type NamespaceOptions } from './definition.ts'
import { FST_ERR_WS_NAMESPACES_NOT_FOUND } from '../errors.ts'
import type { LocalStats } from './hub.ts'
import { Namespace } from './namespace.ts'
import type { Registry } from './registry.ts'

/** The namespaces of an application: `fastify.wsNamespaces`. */
export class WsNamespaces {
  readonly #registry: Registry

  /** @internal */
  constructor (registry: Registry) {
    this.#registry = registry
  }

  /**
   * Makes a namespace, at any time. A name with parameters, `rooms/:id`, stands for as many as there are ids: each is there
   * from the first client that is let in until the last one leaves.
   *
   * @throws FST_ERR_WS_NAMESPACES_INVALID_NAME, _INVALID_OPTION, _EXISTS
   */
  create<Schema extends TSchema = TSchema, Ctx extends Identity = Identity> (name: string, options: NamespaceOptions<Schema, Ctx> = {}): Namespace<Schema, Ctx> {
    const definition = define(name, options as NamespaceOptions<never, never>, this.#registry.options.maxPayloadBytes)
    this.#registry.define(definition)
    return new Namespace(name, definition, this.#registry)
  }

  /**
   * The namespace of a decoded name, also one instance of a pattern: `rooms/a:b`, whether it has clients or not; null where
   * there is none.
   */
  get (name: string): Namespace | null {
    const found = this.#registry.find(name)
    return found === null ? null : new Namespace(name, found.definition, this.#registry)
  }

  /** @internal @throws FST_ERR_WS_NAMESPACES_NOT_FOUND */
  must (name: string): Namespace {
    const found = this.get(name)
    if (found === null) throw new FST_ERR_WS_NAMESPACES_NOT_FOUND()
    return found
  }

  /** This process' share of each namespace, instances of patterns by their own names. */
  local (): Record<string, LocalStats> {
    return this.#registry.local()
  }

  /**
   * Takes no more connections and ends all with 1001, in slices, within `drainMs`. `app.close()` does it; who waits for
   * connections to end before that calls it first. Further calls return the same promise.
   */
  drain (): Promise<void> {
    return this.#registry.drain.start()
  }
}
