import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { choose } from '../scripts/benchmarks.js'
import { cleanEnv, ROOT } from '../scripts/bootstrap.js'

const bench = (tmp: string, ...args: string[]) => {
  const { REDIS_URL: _given, ...env } = cleanEnv()
  // No benchmark gets as far as to a database here.
  return spawnSync(process.execPath, [join(ROOT, 'scripts/bench.js'), ...args], { encoding: 'utf8', timeout: 120_000, env: { ...env, TMPDIR: tmp, MONGODB_URI: 'mongodb://127.0.0.1:1' } })
}

t.test('npm run bench leaves the plan out, which takes 20 minutes and writes into the repository', async (t) => {
  const folder = join(ROOT, 'benchmarks')
  const { paths, unknown } = choose(folder, [])
  t.same(unknown, [])
  t.notOk(paths.some((path) => path.startsWith('plan')))
  t.ok(paths.length > 10)
  t.same(choose(folder, ['plan']), { paths: [join('plan', 'plan.bench.js')], unknown: [] })
  t.same(choose(folder, ['l1.', 'nothing-like-it']), { paths: [join('config-cache', 'l1.bench.js')], unknown: ['nothing-like-it'] })
})

t.test('a name that no benchmark has is refused', async (t) => {
  const { status, stderr } = bench(t.testdir(), 'nothing-like-it')
  t.match([status, stderr], [64, /nothing-like-it/])
})

t.test('a benchmark that fails leaves nothing behind, and its status is that of the run', async (t) => {
  const tmp = t.testdir()
  const { status, stderr } = bench(tmp, 'plan', '--no-such-option')
  t.match([status, stderr], [64, /Redis: redis:\/\/[^]*unknown: --no-such-option[^]*plan\.bench\.js failed: 64/])
  t.same(readdirSync(tmp).filter((name) => name.startsWith('jpulse-bench-')), [])
})

t.test('a page that there is not, and a server that there is not, are no success of lighthouse and schemathesis', async (t) => {
  const env = { ...cleanEnv(), TMPDIR: t.testdir() }
  for (const [script, args, line] of [['lighthouse', ['/admin'], /no page of the site is at \/admin\./], ['lighthouse', ['/', '/nowhere'], /at \/nowhere\./], ['schemathesis', ['shop'], /usage/]] as const) {
    const { status, stderr } = spawnSync(process.execPath, [join(ROOT, `scripts/${script}.js`), ...args], { encoding: 'utf8', timeout: 60_000, env })
    t.match([status, stderr], [64, line], script)
  }
})

t.test('the folder of a script goes with it, also where a command ends it, or a fault', async (t) => {
  const tmp = t.testdir()
  for (const end of ["run('false', [])", "throw new Error('fault')", 'process.exit(1)']) {
    const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', `import { run, temporaryFolder } from ${JSON.stringify(join(ROOT, 'scripts/bootstrap.js'))}
      temporaryFolder('gone')
      ${end}`], { encoding: 'utf8', timeout: 60_000, env: { ...cleanEnv(), TMPDIR: tmp } })
    t.equal(status, 1, end)
  }
  t.same(readdirSync(tmp), [])
})
