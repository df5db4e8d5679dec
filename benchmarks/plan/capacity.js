import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { ASSUMPTIONS, MOST_USERS } from './assumptions.js'
import { NotMeasured, siteOf } from './model.js'
import { siteText } from './page.js'

// npm run capacity -- --users=N [--online=0.1 …]: what a site of so many users needs, from the figures that were measured last.

/** @type {Record<string, import('./assumptions.js').Assumption>} */
const OPTIONS = { users: { value: NaN, what: 'users that have an account', least: 1, most: MOST_USERS, isWhole: true }, ...ASSUMPTIONS }

const USAGE = `npm run capacity -- --users=N
${Object.entries(ASSUMPTIONS).map(([name, { value, what }]) => `  ${`--${name}=${value}`.padEnd(17)} ${what}`).join('\n')}
Numbers are written without units and separators: 0.5, 1000000, 1e6. docs/scale.md has the model and what was measured.`

try {
  const { values } = parseArgs({
    options: { help: { type: 'boolean', short: 'h' }, ...Object.fromEntries(Object.keys(OPTIONS).map((name) => [name, { type: /** @type {const} */ ('string'), multiple: /** @type {const} */ (true) }])) }
  })
  const { help, ...texts } = /** @type {{ help?: boolean } & Record<string, string[]>} */ (values)
  if (help) console.log(USAGE)
  else {
    const { users, ...given } = Object.fromEntries(Object.entries(texts).map(([name, all]) => [name, numberOf(name, all)]))
    if (users === undefined) throw new Error('--users is missing')
    console.log(siteText(siteOf(JSON.parse(readFileSync(new URL('figures.json', import.meta.url), 'utf8')), users, given)))
  }
} catch (err) {
  const { message } = /** @type {Error} */ (err)
  const isLacking = err instanceof NotMeasured
  console.error(isLacking ? message : `${message}\n\n${USAGE}`)
  process.exit(isLacking ? 69 : 64)
}

/** @param {string} name @param {string[]} texts */
function numberOf (name, texts) {
  const [text, another] = texts
  if (text === undefined || another !== undefined) throw new Error(`--${name} is given more than once`)
  const { least, most, isWhole } = /** @type {import('./assumptions.js').Assumption} */ (OPTIONS[name])
  const value = /^\d+(\.\d+)?(e\d+)?$/.test(text) ? Number(text) : NaN
  if (!Number.isFinite(value) || value < (least ?? Number.MIN_VALUE) || value > (most ?? Infinity) || (isWhole && !Number.isInteger(value))) {
    const bounds = [least === undefined ? 'above 0' : `of ${least} or more`, ...most === undefined ? [] : [`up to ${most.toLocaleString('en')}`]].join(', ')
    throw new Error(`--${name} must be a ${isWhole ? 'whole ' : ''}number ${bounds}, and is ${JSON.stringify(text)}`)
  }
  return value
}
