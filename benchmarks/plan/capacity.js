import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { ASSUMPTIONS, NotMeasured, siteOf } from './model.js'
import { siteText } from './page.js'

// npm run capacity -- --users=N [--online=0.1 …]: what a site of so many users needs, from the figures that were measured last.

const USAGE = `npm run capacity -- --users=N\n${Object.entries(ASSUMPTIONS).map(([name, value]) => `  --${name}=${value}`).join('\n')}\nWhat each means is in benchmarks/plan/model.js.`

try {
  const names = ['users', ...Object.keys(ASSUMPTIONS)]
  const { values } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: /** @type {const} */ ('string') }])) })
  const numbers = Object.fromEntries(Object.entries(values).map(([name, text]) => [name, numberOf(name, String(text))]))
  const { users, ...given } = numbers
  if (users === undefined) throw new Error('--users is missing')
  console.log(siteText(siteOf(JSON.parse(readFileSync(new URL('figures.json', import.meta.url), 'utf8')), users, given)))
} catch (err) {
  const { message } = /** @type {Error} */ (err)
  const isLacking = err instanceof NotMeasured
  console.error(isLacking ? message : `${message}\n\n${USAGE}`)
  process.exit(isLacking ? 69 : 64)
}

/** @param {string} name @param {string} text */
function numberOf (name, text) {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value) || value <= 0) throw new Error(`--${name} must be a number above 0, and is ${JSON.stringify(text)}`)
  return value
}
