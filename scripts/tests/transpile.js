import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { ROOT } from '../bootstrap.js'

const SOURCE = /(?<!\.d|\.tst)\.ts$/

/**
 * Strips the types of all sources and tests in one go, so that no test file has to load a compiler: that costs each of them a second
 * of processor time. Types are checked apart (scripts/check.js).
 *
 * @param {string} outdir gets one module for each source, at the same relative path
 */
export async function transpile (outdir) {
  const folders = ['packages', 'examples'].flatMap((group) => readdirSync(join(ROOT, group)).flatMap((name) => ['src', 'test'].map((part) => join(ROOT, group, name, part))))
  const entryPoints = [...folders, join(ROOT, 'test')].flatMap(sources)
  await build({ entryPoints, outdir, outbase: ROOT, format: 'esm', target: 'node20', sourcemap: 'inline', sourcesContent: false, logLevel: 'error' })
}

/** @param {string} folder @returns {string[]} */
function sources (folder) {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => SOURCE.test(name) && !name.includes('node_modules')).map((name) => join(folder, name))
  } catch {
    return []
  }
}
