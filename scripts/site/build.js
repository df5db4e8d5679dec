import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { build } from 'esbuild'
import { ROOT } from '../bootstrap.js'

const SOURCE = /(?<!\.d)\.ts$/
/** Of a module beside it, as esbuild writes it. */
const SPECIFIER = /\b(from|import)(\s*\(?\s*)"(\.\.?\/[^"\n]+)\.ts"/g

/**
 * Makes the `dist` of each package by taking the types away: a second, where the compiler, which looks at them, takes a minute on a
 * small machine. It leaves no declarations and no record, so `npm run build` and `npm test` make all of it anew.
 */
export async function buildWithoutTypes () {
  const folders = ['packages', 'examples'].flatMap((group) => readdirSync(join(ROOT, group)).map((name) => join(ROOT, group, name))).filter((folder) => existsSync(join(folder, 'src')))
  const entryPoints = folders.flatMap((folder) => readdirSync(join(folder, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) => SOURCE.test(name)).map((name) => join(folder, 'src', name)))
  const { outputFiles } = await build({ entryPoints, outdir: ROOT, outbase: ROOT, format: 'esm', target: 'node20', write: false, logLevel: 'error' })
  for (const { path, text } of outputFiles) {
    const [group = '', name = '', , ...rest] = relative(ROOT, path).split('/')
    const target = join(ROOT, group, name, 'dist', ...rest)
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, text.replaceAll(SPECIFIER, '$1$2"$3.js"'))
  }
}
