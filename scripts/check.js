import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { bootstrap, ROOT, run, say } from './bootstrap.js'
import { flags } from './flags.js'

// npm run check            types, type tests, lint, unused code, circles of imports, and what would be published
// node … check.js --types  types only

const bin = (/** @type {string} */ file) => join(ROOT, 'node_modules', file)
/** @param {string} what @param {string} script @param {string[]} args */
function step (what, script, ...args) {
  say(what)
  run(process.execPath, [bin(script), ...args])
}

const given = flags(['--types'])
if (process.env.npm_lifecycle_event === 'check') bootstrap()
step('types of the tests and scripts', 'typescript-native/bin/tsc', '-p', 'tsconfig.test.json')
if (!given.has('--types')) {
  step('type tests', 'tstyche/build/bin.js')
  step('lint', 'eslint/bin/eslint.js', '.', '--max-warnings=0')
  step('unused files, exports and dependencies', 'knip/bin/knip.js')
  const sources = ['packages', 'examples'].flatMap((folder) => readdirSync(join(ROOT, folder)).map((name) => join(ROOT, folder, name, 'src')))
  step('circles of imports', 'madge/bin/cli.js', '--circular', '--extensions', 'ts', '--no-spinner', ...sources.filter((source) => existsSync(source)))
  say('what each package would publish')
  run(process.execPath, [join(ROOT, 'scripts/publint.js')])
}
