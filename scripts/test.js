import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bootstrap, cleanEnv, ROOT, run, say } from './bootstrap.js'
import { CannotProvide, chromiumBinary, prometheusTools, redisBinary } from './servers/binaries.js'
import { provideMongo, provideRedis } from './servers/provider.js'
import { TapSummary } from './tap-summary.js'

// npm test            everything: build, then every test on real servers, and beside them types, lint and the other checks
// npm test -- FILE…   those test files only

/** @typedef {{ code: number | null, passed: number, failed: number, again: string[], slowest: Array<{ file: string, seconds: number }>, stopped: boolean }} Ran */

const SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM'])
const started = Date.now()
const files = process.argv.slice(2)
const dir = mkdtempSync(join(tmpdir(), 'jpulse-test-'))
/** @type {import('./servers/provider.js').Provided[]} */
const servers = []

try {
  bootstrap()
  if (files.length > 0) run(process.execPath, [join(ROOT, 'scripts/check.js'), '--types'])
  redisBinary(say)
  const chromium = chromiumBinary(say)
  if (files.length === 0 || files.some((file) => file.includes('cluster-metrics'))) prometheusTools(say)
  servers.push(await provideRedis({ dir, say }))
  servers.push(await provideMongo({ dir, say }))
  const [redis, mongo] = servers
  const checks = files.length === 0 ? beside(join(ROOT, 'scripts/check.js')) : Promise.resolve(0)
  process.exitCode = await runAll({ ...cleanEnv(), REDIS_URL: redis?.url, MONGODB_URI: mongo?.url, CHROMIUM_PATH: chromium }, checks)
} catch (err) {
  if (!(err instanceof CannotProvide)) throw err
  process.stderr.write(`${err.message}\n`)
  process.exitCode = 1
} finally {
  for (const server of servers) await server.stop()
  rmSync(dir, { recursive: true, force: true })
}

/**
 * Runs the tests, and once more those files in which nothing but the time ran out, each with the machine to itself: a
 * wait that is too short on a crowded machine is no finding, one that is too short on an idle one is. A wrong answer is
 * final.
 *
 * @param {NodeJS.ProcessEnv} env @param {Promise<number>} checks exit code of what runs beside; one that is not 0 ends the tests
 * @returns {Promise<number>} the exit code
 */
async function runAll (env, checks) {
  const fault = new AbortController()
  checks.then((code) => { if (code !== 0) fault.abort() })
  const first = together(await Promise.all((await lanes()).map((args) => tap(env, args, fault.signal))))
  let { code, passed, failed, stopped } = first
  if (first.again.length > 0 && !stopped) {
    say(`again, one after the other, because a wait ran out: ${first.again.join(' ')}`)
    const second = await tap(env, ['--jobs=1', ...first.again], fault.signal)
    code = failed > 0 ? code : second.code
    passed += second.passed
    failed += second.failed + second.again.length
    stopped = second.stopped
  }
  if (await checks !== 0) {
    say('the checks found something: see above')
    failed++
  }
  if (files.length === 0) for (const { file, seconds } of first.slowest) say(`${String(seconds).padStart(4)} s ${file}`)
  const ok = code === 0 && !stopped && failed === 0 && passed > 0
  say(`${Math.round((Date.now() - started) / 1000)} s in all`)
  process.stdout.write(`${passed} passed, ${ok ? 0 : Math.max(failed, 1)} failed\n`)
  return ok ? 0 : code || 1
}

/**
 * What runs side by side: the files that fill the machine one after the other, and the rest, which mostly wait, three at a
 * time. In one run of tap each file of the first kind would wait until the machine is empty, and keep it so until it ends.
 *
 * @returns {Promise<string[][]>} arguments for tap
 */
async function lanes () {
  if (files.length > 0) return [files]
  const { parse } = await import('yaml')
  /** @type {string[]} */
  const heavy = parse(readFileSync(join(ROOT, '.taprc'), 'utf8')).serial
  return [heavy.map((file) => `--exclude=${file}`), ['--jobs=1', ...heavy]]
}

/** @param {Ran[]} runs @returns {Ran} */
function together (runs) {
  return {
    code: runs.find((run) => run.code !== 0)?.code ?? 0,
    passed: runs.reduce((sum, run) => sum + run.passed, 0),
    failed: runs.reduce((sum, run) => sum + run.failed, 0),
    again: runs.flatMap((run) => run.again),
    slowest: runs.flatMap((run) => run.slowest).sort((a, b) => b.seconds - a.seconds).slice(0, 10),
    stopped: runs.some((run) => run.stopped)
  }
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string[]} args
 * @param {AbortSignal} signal
 * @returns {Promise<Ran>}
 */
function tap (env, args, signal) {
  const child = spawn(process.execPath, [join(ROOT, 'node_modules/tap/dist/esm/run.mjs'), '--reporter=tap', '--disable-coverage', ...args],
    { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] })
  let stopped = false
  const stop = (/** @type {NodeJS.Signals} */ signal) => { stopped = child.kill(signal) }
  for (const name of SIGNALS) process.on(name, stop)
  signal.addEventListener('abort', () => stop('SIGTERM'))
  const summary = new TapSummary((line) => process.stdout.write(`${line}\n`))
  child.stdout.on('data', (chunk) => summary.write(String(chunk)))
  return new Promise((resolve) => child.once('close', (code) => {
    for (const name of SIGNALS) process.off(name, stop)
    resolve({ code, stopped, ...summary.end() })
  }))
}

/**
 * Runs a script beside the tests, which mostly wait, and prints what it said when it has ended, so that the two do not mix.
 *
 * @param {string} script @returns {Promise<number>} its exit code
 */
function beside (script) {
  const child = spawn(process.execPath, [script], { cwd: ROOT, env: cleanEnv(), stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { said += chunk })
  const stop = (/** @type {NodeJS.Signals} */ signal) => { child.kill(signal) }
  for (const name of SIGNALS) process.on(name, stop)
  return new Promise((resolve) => child.once('close', (code) => {
    for (const name of SIGNALS) process.off(name, stop)
    process.stderr.write(said)
    resolve(code ?? 1)
  }))
}
