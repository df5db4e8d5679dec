import { uniqueId } from './id.ts'
import { isDecided } from './outcome.ts'
import { idle, now } from './time.ts'
import type { View } from './view.ts'
import type { WritePath } from './write-path.ts'

/** The write path of a process that is alone: the same blocks, told to nobody. In bypass there is no entry to drop. */
export class LocalWritePath implements WritePath {
  readonly #view: View
  readonly #blockTtlMs: number

  constructor (view: View, blockTtlMs: number) {
    this.#view = view
    this.#blockTtlMs = blockTtlMs
  }

  async write<T> (tags: readonly string[], work: () => Promise<T>): Promise<T> {
    const opId = uniqueId()
    const began = now()
    let notBefore = 0
    this.#view.block({ opId, writer: '', tags })
    try {
      return await work()
    } catch (err) {
      if (!isDecided(err)) notBefore = began + this.#blockTtlMs
      throw err
    } finally {
      if (now() >= notBefore) this.#view.release(opId)
      else idle(notBefore - now()).then(() => this.#view.release(opId))
    }
  }

  async close (): Promise<void> {}
}
