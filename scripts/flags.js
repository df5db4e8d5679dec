/**
 * What stands on the command line. The process ends with 64 where one is not known: a typing error must not be the command without it.
 *
 * @template {string} T
 * @param {readonly T[]} known
 * @returns {ReadonlySet<T>}
 */
export function flags (known) {
  const given = process.argv.slice(2)
  const unknown = given.filter((one) => !known.some((other) => other === one))
  if (unknown.length > 0) {
    process.stderr.write(`${unknown.join(' ')} is not known. There ${known.length === 0 ? 'are no arguments' : `is ${known.join(', ')}`}\n`)
    process.exit(64)
  }
  return new Set(/** @type {T[]} */ (given))
}
