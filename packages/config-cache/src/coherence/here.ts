import { uniqueId } from '../id.ts'
import { idle, now } from '../time.ts'
import { isDecided } from './coherence.ts'
import type { View } from './view.ts'
import { WriteBudget } from './write-budget.ts'

/** Writes of which no other instance has to hear, because it keeps nothing of what they touch: the tags are blocked in this process alone. */
export class WritesHere {
  readonly #view: View
  readonly #blockTtlMs: number
  readonly #budget = new WriteBudget()

  constructor (view: View, blockTtlMs: number) {
    this.#view = view
    this.#blockTtlMs = blockTtlMs
  }

  /** @throws FST_ERR_CONFIG_CACHE_UNDECIDED before the work; what the work throws, which may then arrive for the life of a block */
  async write<T> (tags: readonly string[], work: () => Promise<T>): Promise<T> {
    const admission = this.#budget.admit(tags)
    const opId = uniqueId()
    const release = () => {
      this.#view.release(opId)
      admission.end()
    }
    const began = now()
    let notBefore = 0
    this.#view.blockHere({ opId, writer: '', tags })
    try {
      return await work()
    } catch (err) {
      if (!isDecided(err)) {
        notBefore = began + this.#blockTtlMs
        admission.outlast()
      }
      throw err
    } finally {
      if (now() >= notBefore) release()
      else idle(notBefore - now()).then(release)
    }
  }
}
