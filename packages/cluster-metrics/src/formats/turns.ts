import { setImmediate as nextTurn } from 'node:timers/promises'

const LONGEST_TURN_MS = 10

/** Calls a function with each of many, and lets others run in between: what hundreds of instances say takes long to read. */
export async function inTurns<T> (items: readonly T[], each: (item: T, index: number) => void): Promise<void> {
  let since = performance.now()
  for (const [index, item] of items.entries()) {
    each(item, index)
    if (performance.now() - since < LONGEST_TURN_MS) continue
    await nextTurn()
    since = performance.now()
  }
}
