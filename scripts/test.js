import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bootstrap, cleanEnv, ROOT, run, say } from './bootstrap.js'
import { CannotProvide, chromiumBinary, redisBinary } from './servers/binaries.js'
import { provideMongo, provideRedis } from './servers/provider.js'
import { TapSummary } from './tap-summary.js'

// npm test            everything: build, types, lint, then every test on real servers
// npm test -- FILE…   those test files only

const SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM'])
const started = Date.now()
const files = process.argv.slice(2)
const dir = mkdtempSync(join(tmpdir(), 'jpulse-test-'))
/** @type {import('./servers/provider.js').Provided[]} */
const servers = []

try {
  bootstrap()
  if (files.length === 0) run(process.execPath, [join(ROOT, 'scripts/check.js')])
  else run(process.execPath, [join(ROOT, 'scripts/check.js'), '--types'])
  redisBinary(say)
  const chromium = chromiumBinary(say)
  servers.push(await provideRedis({ dir, say }))
  servers.push(await provideMongo({ dir, say }))
  const [redis, mongo] = servers
  process.exitCode = await runAll({ ...cleanEnv(), REDIS_URL: redis?.url, MONGODB_URI: mongo?.url, CHROMIUM_PATH: chromium })
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
 * @param {NodeJS.ProcessEnv} env @returns {Promise<number>} the exit code
 */
async function runAll (env) {
  const first = await tap(env, files)
  let { code, passed, failed, stopped } = first
  if (first.again.length > 0 && !stopped) {
    say(`again, one after the other, because a wait ran out: ${first.again.join(' ')}`)
    const second = await tap(env, ['--jobs=1', ...first.again])
    code = failed > 0 ? code : second.code
    passed += second.passed
    failed += second.failed + second.again.length
    stopped = second.stopped
  }
  const ok = code === 0 && !stopped && failed === 0 && passed > 0
  say(`${Math.round((Date.now() - started) / 1000)} s in all`)
  process.stdout.write(`${passed} passed, ${ok ? 0 : Math.max(failed, 1)} failed\n`)
  return ok ? 0 : code || 1
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string[]} args
 * @returns {Promise<{ code: number | null, passed: number, failed: number, again: string[], stopped: boolean }>}
 */
function tap (env, args) {
  const child = spawn(process.execPath, [join(ROOT, 'node_modules/tap/dist/esm/run.mjs'), '--reporter=tap', '--disable-coverage', ...args],
    { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] })
  let stopped = false
  const stop = (/** @type {NodeJS.Signals} */ signal) => { stopped = child.kill(signal) }
  for (const signal of SIGNALS) process.on(signal, stop)
  const summary = new TapSummary((line) => process.stdout.write(`${line}\n`))
  child.stdout.on('data', (chunk) => summary.write(String(chunk)))
  return new Promise((resolve) => child.once('close', (code) => {
    for (const signal of SIGNALS) process.off(signal, stop)
    resolve({ code, stopped, ...summary.end() })
  }))
}
