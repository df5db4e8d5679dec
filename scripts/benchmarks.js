import { readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Only by its name: it takes 20 minutes and writes into the repository. */
export const BY_NAME = join('plan', 'plan.bench.js')

/**
 * Which benchmarks the names mean: those whose path holds one of them, and without names all but one.
 *
 * @param {string} folder @param {string[]} names
 * @returns {{ paths: string[], unknown: string[] }} paths below the folder, and names that no benchmark has
 */
export function choose (folder, names) {
  const all = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'node_modules')
    .flatMap(({ name }) => readdirSync(join(folder, name)).filter((file) => file.endsWith('.bench.js')).map((file) => join(name, file)))
  return {
    paths: all.filter((path) => names.length === 0 ? path !== BY_NAME : names.some((name) => path.includes(name))),
    unknown: names.filter((name) => !all.some((path) => path.includes(name)))
  }
}
