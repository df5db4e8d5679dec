import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { bootstrap, cleanEnv, ROOT, run, say, temporaryFolder } from './bootstrap.js'
import { CannotProvide, chromiumBinary, nginxBinary, prometheusTools, redisBinary } from './servers/binaries.js'
import { provideMongo, provideRedis } from './servers/provider.js'
import { stopAll } from './stop-all.js'

// npm test            everything: build, then every test on real servers, and beside them types, lint and the other checks
// npm test -- FILE…   those test files only, relative to the checkout; --jobs=N at a time, --timeout=S seconds for each

/** @typedef {import('./tests/tap-summary.js').Counted} Counted */

const SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM'])
const started = Date.now()
const { positionals: files, values } = parseArgs({ allowPositionals: true, options: { jobs: { type: 'string' }, timeout: { type: 'string', default: '240' } } })
const dir = temporaryFolder('test')
const TRANSPILED = join(dir, 'transpiled')
/** @type {import('./servers/provider.js').Provided[]} */
const servers = []

try {
  bootstrap()
  if (files.length > 0) run(process.execPath, [join(ROOT, 'scripts/check.js'), '--types'])
  redisBinary(say)
  const chromium = chromiumBinary(say)
  if (files.length === 0 || files.some((file) => file.includes('cluster-metrics'))) prometheusTools(say)
  if (files.length === 0 || files.some((file) => file.includes('operation'))) nginxBinary(say)
  // Installed only by now.
  const { transpile } = await import('./tests/transpile.js')
  await transpile(TRANSPILED)
  servers.push(await provideRedis({ dir, say }))
  servers.push(await provideMongo({ dir, say }))
  const [redis, mongo] = servers
  const checks = files.length === 0 ? beside(join(ROOT, 'scripts/check.js')) : Promise.resolve(0)
  process.exitCode = await runAll({ ...cleanEnv(), TRANSPILED, REDIS_URL: redis?.url, MONGODB_URI: mongo?.url, CHROMIUM_PATH: chromium }, checks)
} catch (err) {
  if (!(err instanceof CannotProvide)) throw err
  process.stderr.write(`${err.message}\n`)
  process.exitCode = 1
} finally {
  await stopAll(servers.map(({ stop }) => stop))
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
  const { planOf } = await import('./tests/plan.js')
  const fault = new AbortController()
  const stop = () => fault.abort()
  for (const name of SIGNALS) process.on(name, stop)
  checks.then((code) => { if (code !== 0) stop() })
  const plan = files.length > 0 ? { files, jobs: 3 } : planOf(ROOT)
  const first = await runOnce({ ...plan, jobs: Number(values.jobs ?? plan.jobs) }, env, fault.signal)
  let { passed, failed } = first
  if (first.again.length > 0 && !fault.signal.aborted) {
    say(`again, one after the other, because a wait ran out: ${first.again.join(' ')}`)
    const second = await runOnce({ files: first.again, jobs: 1 }, env, fault.signal)
    passed += second.passed
    failed += second.failed + second.again.length
  }
  if (await checks !== 0) {
    say('the checks found something: see above')
    failed++
  }
  for (const name of SIGNALS) process.off(name, stop)
  if (files.length === 0) for (const { file, seconds } of first.slowest) say(`${String(seconds).padStart(4)} s ${file}`)
  const ok = !fault.signal.aborted && failed === 0 && passed > 0
  say(`${Math.round((Date.now() - started) / 1000)} s in all`)
  process.stdout.write(`${passed} passed, ${ok ? 0 : Math.max(failed, 1)} failed\n`)
  return ok ? 0 : 1
}

/**
 * @param {{ files: string[], jobs: number, alone?: ReadonlySet<string>, waits?: ReadonlySet<string> }} plan
 * @param {NodeJS.ProcessEnv} env
 * @param {AbortSignal} signal
 * @returns {Promise<Counted>}
 */
async function runOnce (plan, env, signal) {
  const { runFiles } = await import('./tests/run-files.js')
  const { TapSummary } = await import('./tests/tap-summary.js')
  const summary = new TapSummary((line) => process.stdout.write(`${line}\n`))
  await runFiles(plan, { env, timeoutMs: Number(values.timeout) * 1000, signal, write: (tap) => summary.write(tap) })
  return summary.end()
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
