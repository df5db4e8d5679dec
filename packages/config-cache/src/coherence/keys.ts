/** The four keys of every script, and generations. */
type CoreAnd = readonly [state: string, members: string, ops: string, tags: string, ...more: string[]]

/** What builds names on a link: `redisLink.key`, `redisLink.channel`. */
type Build = (...parts: string[]) => string

/**
 * The only builder of Redis keys and channels.
 *
 * Everything that the scripts touch shares one hash tag, so that it lies on one node of a Redis Cluster. Cached values
 * do not: they spread over all nodes.
 */
export class CacheKeys {
  /** KEYS 1 to 4 of every script: state, members, blocks by operation, count of blocks by tag. */
  readonly core: readonly [state: string, members: string, ops: string, tags: string]
  /** Channel of BLOCK and RELEASE. */
  readonly bus: string
  /** Which process has the documents, where sources are private. */
  readonly claim: string
  readonly #channel: Build
  readonly #tag: string
  /** Made once: each read needs a name of either kind. */
  readonly #generations: string
  readonly #values: string

  constructor (build: Build, channel: Build = build) {
    this.#channel = channel
    this.#tag = `{${build('cache')}}`
    this.core = [this.#shared('state'), this.#shared('members'), this.#shared('ops'), this.#shared('tags')]
    this.bus = channel('cache', 'bus')
    this.claim = build('cache', 'documents')
    this.#generations = this.#shared('g', '')
    this.#values = build('cache', 'c', '')
  }

  /** Proof that a member of this id received its last reply, while it is not registered. */
  hello (memberId: string): string {
    return this.#shared('hello', memberId)
  }

  /** Generation of a tag. */
  generation (tag: string): string {
    return this.#generations + tag
  }

  /** The keys of a script that touches tags. */
  withGenerations (tags: readonly string[]): CoreAnd {
    return [...this.core, ...tags.map((tag) => this.generation(tag))]
  }

  /** A cached value. `space` changes when the cache is cleared. */
  value (space: string, key: string): string {
    return `${this.#values}${space}:${key}`
  }

  /** Channel on which a writer hears acknowledgements. */
  acks (memberId: string): string {
    return this.#channel('cache', 'ack', memberId)
  }

  #shared (...parts: string[]): string {
    return [this.#tag, ...parts].join(':')
  }
}

/** Names of tags in the hash of tags, where the field `_` is the mark of the epoch and '' is no tag. */
export const fieldsOf = (tags: readonly string[]): string[] => tags.map((tag) => tag === '_' ? '' : tag)
