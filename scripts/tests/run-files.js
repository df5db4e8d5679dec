import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../bootstrap.js'

const LOADER = join(ROOT, 'scripts/tests/loader.js')
/** How long a file has to say what it waits for, and then to end, when its time is over. */
const GRACE_MS = 500

/**
 * @typedef {object} Run
 * @property {NodeJS.ProcessEnv} env
 * @property {number} timeoutMs longest time of a file that sets none by `t.setTimeout`
 * @property {AbortSignal} signal ends the run: no further file begins, and those that run are stopped
 * @property {(tap: string) => void} write gets what a file printed and its verdict when it has ended, in TAP
 */

/**
 * Runs test files, each in a process of its own. tap's own runner does the same and loads a compiler, a mock loader and a hook for child
 * processes into each of them, and into what they start.
 *
 * @param {Pick<import('./plan.js').Plan, 'files' | 'jobs'> & { alone?: ReadonlySet<string>, waits?: ReadonlySet<string> }} plan its files relative to the checkout
 * @param {Run} run
 * @returns {Promise<void>}
 */
export async function runFiles ({ files, jobs, alone = new Set(), waits = new Set() }, run) {
  const waiting = [...files]
  cpuSinceLastExit()
  let isAlone = false
  /** The next file of its kind that may begin now. */
  const take = (isWaiting = false) => {
    const at = waiting.findIndex((file) => waits.has(file) === isWaiting && !(isAlone && alone.has(file)))
    return at < 0 ? undefined : waiting.splice(at, 1)[0]
  }
  const work = async (/** @type {() => string | undefined} */ next) => {
    for (let file = next(); file !== undefined && !run.signal.aborted; file = next()) {
      const wasAlone = alone.has(file)
      isAlone ||= wasAlone
      run.write(await runFile(file, run))
      if (wasAlone) isAlone = false
    }
  }
  await Promise.all([...Array.from({ length: jobs }, () => work(() => take() ?? take(true))), work(() => take(true))])
}

/** @param {string} file @param {Run} run @returns {Promise<string>} its TAP, as a subtest */
function runFile (file, { env, timeoutMs, signal }) {
  const begun = performance.now()
  // How tap's processes talk to what runs them: the time that a file wants, and that it is over.
  const known = { key: randomUUID(), child: '0' }
  const child = spawn(process.execPath, ['--enable-source-maps', '--import', LOADER, join(ROOT, file)], {
    cwd: ROOT,
    env: { ...env, TAP: '1', TAP_CHILD_ID: known.child, TAP_CHILD_KEY: known.key, TAP_TIMEOUT: String(timeoutMs / 1000) },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc']
  })
  let said = ''
  /** @type {NodeJS.Timeout[]} */
  let timers = []
  const later = (/** @type {number} */ ms, /** @type {() => void} */ act) => { timers.push(setTimeout(act, ms)) }
  const expireIn = (/** @type {number} */ ms) => {
    for (const timer of timers) clearTimeout(timer)
    timers = []
    later(ms, () => {
      if (child.connected) child.send({ tapAbort: 'timeout', ...known }, () => {})
      later(GRACE_MS, () => child.kill('SIGALRM'))
      later(2 * GRACE_MS, () => child.kill('SIGKILL'))
    })
  }
  const stop = () => { child.kill('SIGTERM') }
  signal.addEventListener('abort', stop)
  expireIn(timeoutMs)
  child.on('message', (/** @type {{ key?: string, setTimeout?: number }} */ message) => {
    if (message.key === known.key && typeof message.setTimeout === 'number' && message.setTimeout > 0) expireIn(message.setTimeout)
  })
  child.stdout?.setEncoding('utf8').on('data', (chunk) => { said += chunk })
  let cpu = ''
  child.once('exit', () => { cpu = cpuSinceLastExit() })
  return new Promise((resolve) => child.once('close', (code, killedBy) => {
    for (const timer of timers) clearTimeout(timer)
    signal.removeEventListener('abort', stop)
    const passed = code === 0 && isWhole(said)
    const why = passed ? '' : `    # ${killedBy ?? `exit code ${code}`}\n`
    resolve(`# Subtest: ${file}\n${said.replace(/^(?=.)/gm, '    ')}${why}${passed ? 'ok' : 'not ok'} 1 - ${file} # time=${Math.round(performance.now() - begun)}ms${cpu}\n`)
  }))
}

let knownTicks = 0

/**
 * Processor time of the child that has just ended, with whatever it started and waited for: Linux adds it to that of our ended children.
 * Empty elsewhere.
 */
function cpuSinceLastExit () {
  try {
    // After the name in brackets: field 16 and 17 of proc(5), in hundredths of a second.
    const fields = readFileSync('/proc/self/stat', 'utf8').split(') ').at(-1)?.split(' ') ?? []
    const ticks = Number(fields[13]) + Number(fields[14])
    const cpu = ` cpu=${((ticks - knownTicks) / 100).toFixed(1)}s`
    knownTicks = ticks
    return cpu
  } catch {
    return ''
  }
}

/** @param {string} tap whether it has as many verdicts as it planned */
function isWhole (tap) {
  const plan = /^1\.\.(\d+)/m.exec(tap)
  return plan !== null && Number(plan[1]) > 0 && Number(plan[1]) === tap.match(/^(not )?ok \d+/gm)?.length
}
