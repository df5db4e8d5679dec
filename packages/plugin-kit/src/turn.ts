import { setImmediate } from 'node:timers/promises'

/** As long one piece of work goes on before others get their turn, in milliseconds. */
const TURN_MS = 5

/**
 * Splits work whose length follows from what it is given, so that the process answers others meanwhile: after each piece of
 * it, `if (turn.isOver) await turn.next()`. What is awaited otherwise does not always give way: a promise that is settled
 * already goes on in the same turn.
 */
export class Turn {
  #began = performance.now()

  get isOver (): boolean {
    return performance.now() - this.#began >= TURN_MS
  }

  async next (): Promise<void> {
    await setImmediate()
    this.#began = performance.now()
  }
}
