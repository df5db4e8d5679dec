import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { redisBinary } from '../../scripts/servers/binaries.js'
import { measureCarry } from './carry.js'
import { killAll } from './children.js'
import { measureLatency } from './latency.js'
import { measureMembers } from './members.js'
import { measureMemory } from './memory.js'
import { fill } from './page.js'
import { measurePeople } from './people.js'

// The plan's tables, measured, and docs/scale.md that they stand in. At full size about 20 minutes of an otherwise idle machine;
// --short in two minutes, with few of everything, and into the page only with --write. --only=latency,members measures some
// parts; the others stay as they are. Every loop ends by count or time.

const PARTS = { latency: measureLatency, memory: measureMemory, members: measureMembers, carry: measureCarry, people: measurePeople }
const args = process.argv.slice(2)
const isShort = args.includes('--short')
const only = args.find((arg) => arg.startsWith('--only='))?.slice('--only='.length).split(',') ?? Object.keys(PARTS)
const unknown = [...args.filter((arg) => !/^--(short|write|only=.+)$/.test(arg)), ...only.filter((name) => !(name in PARTS))]
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(' ')}; there are --short, --write, --only=${Object.keys(PARTS)}`)
  process.exit(64)
}

const url = (/** @type {string} */ path) => new URL(path, import.meta.url)
const FIGURES = url('figures.json')
const PAGE = url('../../docs/scale.md')
const machine = `${availableParallelism()} cores, Node ${process.versions.node}, ${execFileSync(redisBinary(console.error), ['--version'], { encoding: 'utf8' }).replace(/^(\w+) server v=(\S+)[^]*/, '$1 $2')}`
const command = `npm run bench -- plan${isShort ? ' --short' : ''}`
/** @type {import('./model.js').Figures} */
const figures = JSON.parse(readFileSync(FIGURES, 'utf8'))
const page = readFileSync(PAGE, 'utf8')
const say = (/** @type {string} */ line) => { process.stderr.write(`  ${line}\n`) }

const isKept = !isShort || args.includes('--write')
let hasFailed = false

for (const [name, measure] of Object.entries(PARTS)) {
  if (!only.includes(name)) continue
  const begin = performance.now()
  try {
    figures[name] = { command, date: new Date().toISOString().slice(0, 10), machine, figures: await measure({ isShort, say }) }
    say(`${name} took ${Math.round((performance.now() - begin) / 1000)} s`)
    // Part by part, so that nothing is lost where a later one fails.
    if (isKept) writeFileSync(FIGURES, `${JSON.stringify(figures, null, 1)}\n`)
  } catch (err) {
    hasFailed = true
    console.error(err)
  }
  await killAll()
}
const filled = fill(page, figures)
if (isKept) writeFileSync(PAGE, filled)
console.log(filled.match(/<!-- plan:[^]*?<!-- \/plan:.*? -->/g)?.join('\n\n'))
// A row that is missing is told on the page, and by the status of the run that missed it.
process.exit(hasFailed || (only.includes('members') && figures.members?.figures.failed.length > 0) ? 1 : 0)
