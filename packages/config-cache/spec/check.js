import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

// node spec/check.js          the model without a fault, and with each rule removed
// node spec/check.js --long   larger configurations as well, as far as the time goes
// Needs spin and a C compiler.

const MODEL = fileURLToPath(new URL('coherence.pml', import.meta.url))
const LONG = process.argv.includes('--long')
const dir = mkdtempSync(join(tmpdir(), 'coherence-'))

/** What must hold. `exhaustive` says that every state has to be visited. */
const SOUND = [
  { defines: ['N=1', 'W=1', 'WRITES=1', 'RESTARTS=0'], exhaustive: true },
  { defines: ['N=1', 'W=1', 'WRITES=2', 'RESTARTS=0'], exhaustive: LONG },
  { defines: ['N=1', 'W=1', 'WRITES=1', 'RESTARTS=1'], exhaustive: true },
  { defines: ['N=1', 'W=1', 'WRITES=1', 'RESTARTS=0', 'OWN'], exhaustive: true },
  { defines: ['N=1', 'W=2', 'WRITES=1', 'RESTARTS=0', 'QUIET', 'OWN'], exhaustive: true },
  { defines: ['N=1', 'W=2', 'WRITES=1', 'RESTARTS=0'], exhaustive: LONG },
  { defines: ['N=1', 'W=1', 'WRITES=1', 'RESTARTS=0', 'EXPIRE'], exhaustive: LONG },
  { defines: ['N=1', 'W=2', 'WRITES=1', 'RESTARTS=0', 'QUIET'], exhaustive: true },
  { defines: ['N=1', 'W=2', 'WRITES=1', 'RESTARTS=0', 'QUIET', 'EXPIRE'], exhaustive: LONG },
  { defines: ['N=1', 'W=2', 'WRITES=1', 'RESTARTS=0', 'QUIET', 'AFTER_RESTART'], exhaustive: LONG },
  ...LONG ? [{ defines: ['N=1', 'W=1', 'WRITES=2', 'RESTARTS=1'], exhaustive: false }, { defines: ['N=2', 'W=1', 'WRITES=2', 'RESTARTS=1'], exhaustive: false }] : []
]

/** Each rule left out, in a configuration in which it matters: a violation must be found. */
const MUTATIONS = [
  ['NO_ACK', 'WRITES=1', 'RESTARTS=0'],
  ['NO_GAP', 'WRITES=2', 'RESTARTS=0'],
  ['NO_GENERATION', 'WRITES=1', 'RESTARTS=0'],
  ['NO_EPOCH_IN_GENERATION', 'WRITES=1', 'RESTARTS=1'],
  ['NO_TOUCH', 'WRITES=1', 'RESTARTS=0'],
  ['NO_RELEASE_TOUCH', 'WRITES=1', 'RESTARTS=0'],
  ['NO_REDO', 'WRITES=1', 'RESTARTS=0', 'EXPIRE'],
  ['NO_QUARANTINE', 'WRITES=1', 'RESTARTS=1'],
  ['NO_FENCE_CHECK', 'WRITES=2', 'RESTARTS=0'],
  ['NO_COUNT', 'WRITES=2', 'RESTARTS=0'],
  ['NO_TERM', 'WRITES=1', 'RESTARTS=1'],
  ['NO_CALM', 'W=2', 'WRITES=1', 'RESTARTS=0', 'QUIET'],
  ['NO_FIRST_BLOCK', 'W=2', 'WRITES=1', 'RESTARTS=0', 'QUIET', 'EXPIRE'],
  ['NO_OPEN_HAND_ON', 'W=2', 'WRITES=1', 'RESTARTS=0', 'QUIET', 'AFTER_RESTART']
]

/** @param {string[]} defines @param {string[]} cflags @param {number} seconds */
function verify (defines, cflags, seconds) {
  const flags = defines.map((define) => `-D${define}`)
  run('spin', ['-a', ...flags, MODEL])
  run('gcc', ['-w', '-O2', '-DSAFETY', '-DMEMLIM=3000', ...cflags, '-o', 'pan', 'pan.c'])
  const { stdout, signal } = spawnSync(join(dir, 'pan'), ['-m200000', ...cflags.includes('-DBITSTATE') ? ['-w29'] : ['-w24']], { cwd: dir, timeout: seconds * 1000, maxBuffer: 64e6, encoding: 'utf8' })
  return {
    violated: /assertion violated/.test(stdout),
    complete: signal === null && !/max search depth|out of memory|reached -DMEMLIM/.test(stdout),
    states: Number(/([\d.e+]+) states, stored/.exec(stdout)?.[1] ?? [...stdout.matchAll(/States=\s*([\d.e+]+)/g)].at(-1)?.[1] ?? 0)
  }
}

/** @param {string} command @param {string[]} args */
function run (command, args) {
  const { status, error, stderr, stdout } = spawnSync(command, args, { cwd: dir, encoding: 'utf8' })
  if (error !== undefined || status !== 0) throw new Error(`${command}: ${error?.message ?? stderr + stdout}`)
}

/** @param {boolean} ok @param {string} text */
function report (ok, text) {
  if (!ok) process.exitCode = 1
  process.stdout.write(`${ok ? 'ok    ' : 'not ok'} ${text}\n`)
}

try {
  for (const { defines, exhaustive } of SOUND) {
    const { violated, complete, states } = verify(defines, ['-DCOLLAPSE'], LONG ? 900 : exhaustive ? 400 : 60)
    report(!violated && (complete || !exhaustive), `${defines.join(' ')}: ${states.toExponential(1)} states, ${complete ? 'all' : 'in part'}${violated ? ', VIOLATED' : ''}`)
  }
  for (const defines of MUTATIONS) {
    const { violated, states } = verify(defines, ['-DBITSTATE'], LONG ? 300 : 90)
    report(violated, `${defines.join(' ')}: ${violated ? 'found' : 'NOT FOUND'} after ${states.toExponential(1)} states`)
  }
} finally {
  rmSync(dir, { recursive: true, force: true })
}
