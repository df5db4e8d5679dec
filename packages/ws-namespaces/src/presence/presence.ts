/** A user who is there, and the instances where. */
export interface Present {
  userId: string
  instances: string[]
}

/** Tells the clients of a namespace. */
export interface PresenceSink {
  announce (type: 'presence:join' | 'presence:leave', userIds: readonly string[]): void
}

/** Who is connected to one namespace, in the whole cluster. */
export interface Presence {
  /** Whether every change was published. */
  readonly idle: boolean
  /** The first client is here. Resolves when joins and leaves are heard. */
  attach (): Promise<void>
  /** The last client is gone. */
  detach (): void
  /** The users that the clients here know of. */
  readonly here: readonly string[]
  /** The first connection of a user to this process began, or the last one ended. */
  change (userId: string, isHere: boolean): void
  /** All where no user is given. */
  list (userId?: string): Promise<Present[]>
  /** Renews the lease of this process; `dead` is the token of a process that is known to have ended. */
  beat (dead?: string): Promise<void>
  close (): void
}

/** Where no Redis is configured. */
export class MemoryPresence implements Presence {
  readonly idle = true
  readonly #instanceId: string
  readonly #sink: PresenceSink
  readonly #here = new Set<string>()

  constructor (instanceId: string, sink: PresenceSink) {
    this.#instanceId = instanceId
    this.#sink = sink
  }

  get here (): string[] {
    return [...this.#here]
  }

  async attach (): Promise<void> {}

  detach (): void {}

  change (userId: string, isHere: boolean): void {
    if (this.#here.has(userId) === isHere) return
    if (isHere) this.#here.add(userId)
    else this.#here.delete(userId)
    this.#sink.announce(isHere ? 'presence:join' : 'presence:leave', [userId])
  }

  async list (userId?: string): Promise<Present[]> {
    const found = userId === undefined ? [...this.#here] : [userId].filter((one) => this.#here.has(one))
    return found.map((one) => ({ userId: one, instances: [this.#instanceId] }))
  }

  async beat (): Promise<void> {}

  close (): void {}
}
