import { FST_ERR_WS_NAMESPACES_AMBIGUOUS, FST_ERR_WS_NAMESPACES_EXISTS } from '../errors.ts'
import type { Definition } from './definition.ts'
import { formatName, parseName, type Params } from './names.ts'

/** One namespace: who answers for it, and which of the definition's it is. */
export interface Found {
  /** Names it in the process and in the cluster, see `formatName`. */
  readonly name: string
  /** Decoded. */
  readonly segments: readonly string[]
  readonly definition: Definition
  readonly params: Params
}

/** Of all registrations of the plugin on one cluster-broadcast: they share the cluster, and with it messages by their names. */
const related = new WeakMap<object, Set<Directory>>()

/** The definitions, and which of them answers for a name: the narrowest, in whatever order they came. */
export class Directory {
  readonly #definitions = new Map<string, Definition>()
  readonly #related: Set<Directory>

  constructor (cluster: object) {
    this.#related = related.get(cluster) ?? new Set()
    related.set(cluster, this.#related.add(this))
  }

  /** @throws FST_ERR_WS_NAMESPACES_EXISTS, _AMBIGUOUS */
  add (definition: Definition): void {
    const { name } = definition
    if (this.#definitions.has(name.pattern)) throw new FST_ERR_WS_NAMESPACES_EXISTS(name.pattern, '')
    for (const other of this.#definitions.values()) {
      if (name.relationTo(other.name) === 'ambiguous') throw new FST_ERR_WS_NAMESPACES_AMBIGUOUS(name.pattern, other.name.pattern)
    }
    for (const one of this.#related) {
      const other = one === this ? undefined : [...one].find((other) => name.relationTo(other.name) !== 'apart')
      if (other !== undefined) throw new FST_ERR_WS_NAMESPACES_EXISTS(other.name.pattern, ', of another registration of ws-namespaces: what is sent to the one would reach the other')
    }
    this.#definitions.set(name.pattern, definition)
  }

  remove (definition: Definition): void {
    if (this.has(definition)) this.#definitions.delete(definition.name.pattern)
  }

  has (definition: Definition): boolean {
    return this.#definitions.get(definition.name.pattern) === definition
  }

  [Symbol.iterator] (): Iterator<Definition> {
    return this.#definitions.values()
  }

  /** The definition that was made with this name, parameters as they were written. */
  byPattern (pattern: string): Definition | null {
    return this.#definitions.get(pattern) ?? null
  }

  /** Who answers for the decoded segments of a path. */
  match (segments: readonly string[]): Found | null {
    let best: { definition: Definition, params: Params } | null = null
    for (const definition of this.#definitions.values()) {
      const params = definition.name.match(segments)
      // Of two that match one is narrower: others were not let in.
      if (params !== null && (best === null || definition.name.relationTo(best.definition.name) === 'narrower')) best = { definition, params }
    }
    return best === null ? null : { name: formatName(segments), segments, ...best }
  }

  /** Who answers for a name in one text. */
  find (name: string): Found | null {
    const segments = parseName(name)
    return segments === null ? null : this.match(segments)
  }
}
