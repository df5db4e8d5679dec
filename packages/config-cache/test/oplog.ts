import type { Change, Changes, Watched } from '../src/index.ts'

// Not a replica set, but events, tokens and errors of the shapes that MongoDB documents: the servers of the tests have no change streams.

export type Event = Omit<Change, '_id'> & { ns?: object, updateDescription?: object }

/** A collection whose oplog is a list; a token is a place in it. */
export class Oplog implements Watched {
  readonly events: Event[] = []
  readonly opened: object[] = []
  /** The first event that the server still knows. */
  first = 0
  /** What the next open, or the next look, fails with. */
  failure: Error | undefined
  #wake: () => void = () => {}

  push (...events: Event[]): void {
    this.events.push(...events)
    this.#wake()
  }

  fail (err: Error): void {
    this.failure = err
    this.#wake()
  }

  watch (_pipeline: object[], options: { resumeAfter?: { _data: number }, startAfter?: { _data: number } }): Changes {
    this.opened.push(options)
    const after = options.resumeAfter ?? options.startAfter
    let at = after === undefined ? this.events.length : after._data + 1
    let batchEnd = at
    let isEnded = false
    const look = (): void => {
      const { failure } = this
      this.failure = undefined
      if (failure !== undefined) throw failure
      if (isEnded) throw Object.assign(new Error('ChangeStream is closed'), { name: 'MongoAPIError' })
      if (after !== undefined && after._data + 1 < this.first) throw Object.assign(new Error('Resume of change stream was not possible, as the resume point may no longer be in the oplog.'), { code: 286, codeName: 'ChangeStreamHistoryLost' })
    }
    const take = (): Change => {
      const _id = { _data: at }
      return { _id, ...this.events[at++]! } as Change
    }
    return {
      get resumeToken () { return { _data: at - 1 } },
      bufferedCount: () => Math.max(0, batchEnd - at),
      tryNext: async () => { look(); batchEnd = this.events.length; return at < batchEnd ? take() : null },
      next: async () => {
        for (;;) {
          look()
          if (at >= batchEnd) batchEnd = this.events.length
          if (at < batchEnd) return take()
          await new Promise<void>((resolve) => { this.#wake = resolve })
        }
      },
      close: async () => { isEnded = true; this.#wake() }
    }
  }
}
