/**
 * The promise of one operation on a session. It knows whether anybody looks at it: the failure of one that nobody waits for
 * is no unhandled rejection, which would end the process, but fails the request.
 */
export class Operation<T = void> extends Promise<T> {
  static override get [Symbol.species] (): PromiseConstructor {
    return Promise
  }

  /** Whether somebody waits for it, so that its failure is theirs. */
  isObserved = false

  static of<T> (started: Promise<T>): Operation<T> {
    const operation = new Operation<T>((resolve, reject) => { started.then(resolve, reject) })
    Promise.prototype.then.call(operation, undefined, () => {})
    return operation
  }

  override then<A = T, B = never> (...callbacks: Parameters<Promise<T>['then']>): Promise<A | B> {
    this.isObserved = true
    return super.then(...callbacks) as Promise<A | B>
  }
}

/** The operations of one request, one after the other. */
export class Queue {
  #last: Promise<void> | null = null
  readonly #failed: Array<{ operation: Operation<unknown>, error: unknown }> = []

  get isIdle (): boolean {
    return this.#last === null && this.#failed.length === 0
  }

  /** Runs an operation after those before it, whether they failed or not. */
  add<T> (run: () => Promise<T>): Operation<T> {
    const started = this.#last === null ? run() : this.#last.then(run)
    const operation = Operation.of(started)
    const last: Promise<void> = started.then(() => {}, (error) => { this.#failed.push({ operation, error }) })
      .then(() => { if (this.#last === last) this.#last = null })
    this.#last = last
    return operation
  }

  /** Waits until nothing is under way. */
  async idle (): Promise<void> {
    while (this.#last !== null) await this.#last
  }

  /**
   * Waits until nothing is under way.
   *
   * @returns the first failure that nobody looked at, wrapped so that any value can be one
   */
  async settled (): Promise<{ readonly error: unknown } | undefined> {
    await this.idle()
    const unseen = this.#failed.find(({ operation }) => !operation.isObserved)
    this.#failed.length = 0
    return unseen
  }
}
