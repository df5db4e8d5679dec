import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { serversEnv, temporaryFolder, waitFor, type Scope } from '../../../test/helpers/index.ts'

t.setTimeout(120_000)

const dist = (name: string) => fileURLToPath(new URL(`../dist/${name}`, import.meta.url))
const PAD = 'x'.repeat(300)
/** Writes a line of the log for each line that it is told, and says so. */
const WRITER = `
import { createInterface } from 'node:readline'
import 'server-kit/rotation'
import { openLog } from 'server-kit'
const log = openLog(process.env.LOG_FILE)
for await (const n of createInterface({ input: process.stdin })) {
  log.write(JSON.stringify({ n: Number(n), pad: '${PAD}' }) + '\\n')
  process.stdout.write('written\\n')
}`

/** A process that writes a log, whose files may have so many blocks of 512 bytes. */
function writer (t: Scope, path: string, blocks: number | 'unlimited') {
  const child = spawn('/bin/dash', ['-c', `ulimit -f ${blocks}; exec "$0" --input-type=module -e "$1"`, process.execPath, WRITER], {
    cwd: fileURLToPath(new URL('..', import.meta.url)), env: { ...process.env, LOG_FILE: path }, stdio: ['pipe', 'pipe', 'pipe']
  })
  let said = ''
  child.stderr.on('data', (chunk) => { said += chunk })
  const lines = createInterface({ input: child.stdout })
  let next = 0
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  return {
    said: () => said,
    rotate: () => child.kill('SIGUSR2'),
    async write () {
      child.stdin.write(`${next++}\n`)
      await once(lines, 'line')
      return next - 1
    }
  }
}

const numbersIn = (path: string): Array<number | 'half'> => readFileSync(path, 'utf8').split('\n').filter((line) => line !== '').map((line) => {
  try {
    return (JSON.parse(line) as { n: number }).n
  } catch {
    return 'half'
  }
})

t.test('half a line at a full disk is a line of its own, also before one of another process, and what is lost is told once', async (t) => {
  const path = join(temporaryFolder(t), 'site.log')
  // 4096 bytes are 13 lines and a half.
  const log = writer(t, path, 8)
  for (let n = 0; n < 20; n++) await log.write()
  appendFileSync(path, '{"n":1000}\n')
  await log.write()
  const written = numbersIn(path)
  t.same(written, [...Array(written.length - 2).keys(), 'half', 1000])
  t.match(log.said(), /^LOG_FILE \S+ cannot be written, what follows is lost: EFBIG[^\n]*\n$/)

  renameSync(path, `${path}.1`)
  log.rotate()
  await waitFor(() => existsSync(path), { what: 'another file' })
  const last = await log.write()
  t.same(numbersIn(path), [last])
  await waitFor(() => /\nLOG_FILE \S+ is written again; \d+ lines were lost\n$/.test(log.said()), { what: 'what was lost to be told' })
})

t.test('a file that cannot be opened anew is tried again; until then the one before is written, and it is told once', async (t) => {
  const folder = temporaryFolder(t)
  const path = join(folder, 'log/site.log')
  mkdirSync(join(folder, 'log'))
  const log = writer(t, path, 'unlimited')
  await log.write()
  renameSync(join(folder, 'log'), join(folder, 'moved'))
  log.rotate()
  await waitFor(() => log.said() !== '', { what: 'it to be told' })
  for (let n = 0; n < 3; n++) await log.write()
  log.rotate()
  await log.write()
  mkdirSync(join(folder, 'log'))
  await waitFor(async () => {
    await log.write()
    return existsSync(path)
  }, { what: 'the file to be there again', timeoutMs: 30_000, everyMs: 50 })
  const last = await log.write()
  const [before, after] = [numbersIn(join(folder, 'moved/site.log')), numbersIn(path)]
  t.equal(after.at(-1), last)
  t.same([...before, ...after], [...Array(last + 1).keys()], 'none is lost')
  await waitFor(() => /^LOG_FILE \S+ cannot be opened anew, [^\n]*ENOENT[^\n]*\nLOG_FILE \S+ is opened anew\n$/.test(log.said()), { what: 'it to be told once' })
})

t.test('what serves nobody opens no log: its file would be that of another user', async (t) => {
  const path = join(temporaryFolder(t), 'site.log')
  const run = (name: string, args: string[]) => promisify(execFile)(process.execPath, [dist(name), ...args], { env: { ...process.env, ...servers, LOG_LEVEL: 'info', LOG_FILE: path, SERVER_ID: 'seed' } })
  const servers = await serversEnv(t)
  await run('server.js', ['--check'])
  t.match((await run('seed.js', ['5'])).stdout, '5 people added')
  t.equal(existsSync(path), false)
})
