/**
 * The other side of workers.ts: answers calls of the test with the functions given, and ends with the test.
 *
 * @param {Record<string, (...args: any[]) => unknown>} functions
 */
export function serve (functions) {
  process.on('message', async (/** @type {{ id: number, name: string, args: unknown[] }} */ { id, name, args }) => {
    try {
      const fn = functions[name]
      if (fn === undefined) throw new Error(`the worker has no function ${name}`)
      answer({ id, value: await fn(...args) })
    } catch (err) {
      const { message, code } = /** @type {NodeJS.ErrnoException} */ (err)
      answer({ id, error: { message, code } })
    }
  })
  process.on('disconnect', () => process.exit(0))
  process.stdout.write('ready\n')
}

/** @param {object} message */
function answer (message) {
  // The test may have ended meanwhile.
  if (process.connected) process.send?.(message, undefined, undefined, () => {})
}
