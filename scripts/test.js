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
  process.exitCode = await tap({ ...cleanEnv(), REDIS_URL: redis?.url, MONGODB_URI: mongo?.url, CHROMIUM_PATH: chromium })
} catch (err) {
  if (!(err instanceof CannotProvide)) throw err
  process.stderr.write(`${err.message}\n`)
  process.exitCode = 1
} finally {
  for (const server of servers) await server.stop()
  rmSync(dir, { recursive: true, force: true })
}

/** @param {NodeJS.ProcessEnv} env @returns {Promise<number>} the exit code */
function tap (env) {
  const child = spawn(process.execPath, [join(ROOT, 'node_modules/tap/dist/esm/run.mjs'), '--reporter=tap', '--disable-coverage', ...files],
    { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] })
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.on(signal, () => child.kill(signal))
  const summary = new TapSummary((line) => process.stdout.write(`${line}\n`))
  child.stdout.on('data', (chunk) => summary.write(String(chunk)))
  return new Promise((resolve) => child.once('close', (code) => {
    const { passed, failed } = summary.end()
    const ok = code === 0 && failed === 0 && passed > 0
    say(`${Math.round((Date.now() - started) / 1000)} s in all`)
    process.stdout.write(`${passed} passed, ${ok ? 0 : Math.max(failed, 1)} failed\n`)
    resolve(ok ? 0 : code || 1)
  }))
}
