import { say } from './bootstrap.js'

/**
 * Ends what was started, the last first, each on its own: one that cannot be ended leaves no other running, and hides no error that
 * came before it. It is said, and the process ends with 1.
 *
 * @param {ReadonlyArray<() => unknown>} stops
 */
export async function stopAll (stops) {
  for (const stop of stops.toReversed()) {
    try {
      await stop()
    } catch (err) {
      say(`something that was started could not be ended: ${err instanceof Error ? err.message : err}`)
      process.exitCode ||= 1
    }
  }
}
