import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cleanEnv, ROOT } from '../scripts/bootstrap.js'
import { ALONE, LONG, planOf, WAITS } from '../scripts/tests/plan.js'
import { runFiles } from '../scripts/tests/run-files.js'
import { TapSummary } from '../scripts/tests/tap-summary.js'

/** What tap prints of a file with one test. */
const file = (name: string, failures: string[]) => `# Subtest: ${name}
    # Subtest: a test
${failures.map((message, index) => `        not ok ${index + 1} - ${message}\n`).join('')}        1..${failures.length}
    ${failures.length > 0 ? 'not ok' : 'ok'} 1 - a test # time=1ms
    # Subtest: another
        ok 1 - fine
        1..1
    ok 2 - another # time=1ms
    1..2
${failures.length > 0 ? 'not ok' : 'ok'} 1 - ${name} # time=9ms
`

function summary (text: string) {
  const lines: string[] = []
  const summary = new TapSummary((line) => lines.push(line))
  for (const chunk of text.match(/[^]{1,7}/g)!) summary.write(chunk)
  return { ...summary.end(), lines }
}

t.test('tests are counted, and a file that failed is told whole', async (t) => {
  const { lines, ...counts } = summary(file('a.test.ts', []) + file('b.test.ts', ['a wrong answer']))
  t.match(counts, { passed: 3, failed: 1, again: [] })
  t.same(counts.slowest.map(({ file }) => file), ['a.test.ts', 'b.test.ts'])
  t.ok(lines.some((line) => line.includes('a wrong answer')))
})

t.test('a file in which nothing but the time ran out is to run again', async (t) => {
  const late = ['waited 10000 ms in vain for a worker to be ready', 'timeout!', 'locator.click: Timeout 30000ms exceeded.']
  const { lines, ...counts } = summary(late.map((message, index) => file(`${index}.test.ts`, [message])).join(''))
  t.match(counts, { passed: 0, failed: 0, again: ['0.test.ts', '1.test.ts', '2.test.ts'] })
  t.ok(lines.some((line) => line.includes('a worker to be ready')), 'and says why')
})

t.test('a wrong answer is final, also beside a wait that ran out', async (t) => {
  t.match(summary(file('a.test.ts', ['waited 10 ms in vain for x', '1 stale read'])), { failed: 1, again: [] })
})

t.test('a file that crashed is final', async (t) => {
  t.match(summary('not ok 1 - a.test.ts # time=9ms\n'), { passed: 0, failed: 1, again: [] })
})

t.test('a file passes that ends well with all verdicts that it planned, within the time that it has or asks for', async (t) => {
  /** What is said of the fixture where it ends so. */
  const run = async (ENDS: string, signal = new AbortController().signal) => {
    let tap = ''
    await runFiles({ files: ['test/fixtures/ends-as-told.js'], jobs: 1 }, { env: { ...process.env, ENDS }, timeoutMs: 60_000, signal, write: (text) => { tap += text } })
    return { tap, ...summary(tap) }
  }
  const [well, wrong, early, killed, late, stuck] = await Promise.all(['well', 'wrong', 'early', 'killed', 'late', 'stuck'].map((ends) => run(ends)))
  t.match(well, { passed: 1, failed: 0, again: [] })
  if (process.platform === 'linux') t.match(well!.tap, /# time=\d+ms cpu=\d+\.\ds\n$/, 'with the processor time that it took')
  t.match(wrong, { passed: 1, failed: 1, again: [] })
  t.match(early, { failed: 1, again: [], tap: /exit code 0\nnot ok/ }, 'without its plan')
  t.match(killed, { failed: 1, again: [], tap: /SIGKILL\nnot ok/ })
  t.match(late, { again: ['test/fixtures/ends-as-told.js'] }, 'what only takes too long runs again')
  t.match(stuck, { failed: 1, tap: /SIGKILL\nnot ok/ }, 'what does not even say so is killed')

  const ended = new AbortController()
  const stopped = run('well', ended.signal)
  ended.abort()
  t.match(await stopped, { passed: 0 })
})

t.test('a file that mostly waits runs beside the others, and each runs once', async (t) => {
  const [one, other, plain] = ['test/fixtures/meets-one.js', 'test/fixtures/meets-other.js', 'test/fixtures/ends-as-told.js'] as const
  for (const waits of [[one], [one, plain]]) {
    let tap = ''
    const env = { ...process.env, ENDS: 'well', MEETS_IN: t.testdir({ [String(waits.length)]: {} }) }
    await runFiles({ files: [one, plain, other, plain], jobs: 1, waits: new Set(waits) }, { env, timeoutMs: 60_000, signal: new AbortController().signal, write: (text) => { tap += text } })
    t.match(summary(tap), { passed: 4, failed: 0, again: [] })
  }
})

t.test('every test is in the plan once, and what it names is there', async (t) => {
  const { files } = planOf(ROOT)
  t.equal(new Set(files).size, files.length)
  t.ok(files.includes('test/runner.test.ts') && files.includes('test/mixed-release/mixed-release.test.ts'))
  t.same([...ALONE, ...LONG, ...WAITS].filter((file) => !existsSync(join(ROOT, file))), [])
})

t.test('a script refuses what it does not know, and does nothing', async (t) => {
  const errors = join(ROOT, 'docs/errors.md')
  const before = readFileSync(errors, 'utf8')
  for (const [script, ...args] of [['docs', '--errors', 'NONSENSE'], ['check', '--type'], ['nodes', '24'], ['start', '--port=1']] as const) {
    const { status, stderr } = spawnSync(process.execPath, [join(ROOT, `scripts/${script}.js`), ...args], { cwd: ROOT, env: cleanEnv(), encoding: 'utf8', timeout: 60_000 })
    t.match({ status, stderr }, { status: 64, stderr: `${args.at(-1)} is not known` }, script)
  }
  t.equal(readFileSync(errors, 'utf8'), before)
})

t.test('one that cannot be ended leaves no other running, and does not hide what went wrong before', async (t) => {
  const script = `
    const { stopAll } = await import('./scripts/stop-all.js')
    const ended = []
    try { throw new Error('what went wrong') } finally {
      await stopAll([() => { ended.push('first') }, async () => { throw new Error('it hangs') }, () => { ended.push('last') }])
      console.log(ended.join())
    }`
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { cwd: ROOT, env: cleanEnv(), encoding: 'utf8' })
  t.equal(status, 1)
  t.match(stdout, 'last,first')
  t.match(`${stdout}${stderr}`, 'something that was started could not be ended: it hangs')
  t.match(stderr, 'what went wrong')
  for (const name of ['bench', 'lighthouse', 'schemathesis', 'start', 'test', 'site/servers']) t.match(readFileSync(join(ROOT, `scripts/${name}.js`), 'utf8'), 'await stopAll(', name)
})
