/** npm hands Ctrl-C on to its child, which the terminal has told already: signals this close are one. */
const SAME_SIGNAL_MS = 1000
/** How often to look whether npm is still there. */
const PARENT_CHECK_MS = 500

/**
 * A signal that aborts at SIGINT (Ctrl-C), SIGTERM or SIGHUP, and where npm started this process and is gone (it was
 * killed, and could not hand the signal on). A second signal ends this process at once: what it started then dies with
 * it, unasked.
 *
 * @returns {AbortSignal & { promise: Promise<void> }}
 */
export function untilStopped () {
  const controller = new AbortController()
  let first = 0
  for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(name, () => {
      if (!controller.signal.aborted) first = performance.now()
      else if (performance.now() - first > SAME_SIGNAL_MS) process.exit(1)
      controller.abort()
    })
  }
  const parent = process.env.npm_lifecycle_event === undefined ? undefined : process.ppid
  // Also what keeps this process running: neither a signal handler nor a guarded server does.
  setInterval(() => { if (parent !== undefined && process.ppid !== parent) controller.abort() }, PARENT_CHECK_MS)
  const promise = new Promise((resolve) => controller.signal.addEventListener('abort', () => resolve(undefined), { once: true }))
  return Object.assign(controller.signal, { promise })
}
