import { readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

let outdir = ''

/** @param {{ outdir: string }} data */
export function initialize (data) {
  ({ outdir } = data)
}

/** @type {import('node:module').LoadHook} Reads what `transpile` made of a source of the checkout; its address stays that of the source. */
export async function load (url, context, nextLoad) {
  if (!/^file:.*\.ts(\?|$)/.test(url) || url.includes('/node_modules/')) return nextLoad(url, context)
  const path = join(outdir, relative(ROOT, fileURLToPath(url)).replace(/\.ts$/, '.js'))
  return { format: 'module', source: await readFile(path), shortCircuit: true }
}
