import { uniqueId } from './id.ts'
import type { View } from './view.ts'
import type { WritePath } from './write-path.ts'

/** The write path of a process that is alone: the same blocks, told to nobody. In bypass there is no entry to drop. */
export class LocalWritePath implements WritePath {
  readonly #view: View

  constructor (view: View) {
    this.#view = view
  }

  async write<T> (tags: readonly string[], work: () => Promise<T>): Promise<T> {
    const opId = uniqueId()
    this.#view.block({ opId, writer: '', tags })
    try {
      return await work()
    } finally {
      this.#view.release(opId)
    }
  }

  async close (): Promise<void> {}
}
