import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { ask } from '../examples/jpulse-site/test/web.ts'
import { cleanEnv, ROOT } from '../scripts/bootstrap.js'
import { logrotateBinary } from '../scripts/servers/binaries.js'
import { site, temporaryFolder, waitFor } from './helpers/index.ts'

t.setTimeout(240_000)

const ROTATIONS = 8

t.test('logrotate with the file of deploy/ moves the log of two PM2 workers while they write, and not a line is lost', async (t) => {
  const binary = logrotateBinary(() => {})
  if (binary === undefined) throw new Error('logrotate was not found and cannot be provided: apt-get install logrotate')
  const folder = temporaryFolder(t)
  const logs = join(folder, 'log')
  mkdirSync(logs)
  const { address, home } = await site(t, { env: { LOG_FILE: join(logs, 'site.log'), LOG_LEVEL: 'debug' } })
  t.equal(statSync(join(logs, 'site.log')).mode & 0o007, 0, 'it is not for everybody')
  const written = ([
    ['/var/log/jpulse-site', logs],
    // The user of the test is the owner of its folder.
    ['  su jpulse jpulse\n', ''],
    ['runuser -u jpulse -- ', ''],
    ['/usr/bin/node', process.execPath],
    ['/srv/jpulse', resolve(ROOT)],
    ['PM2_HOME=/var/lib/jpulse-site/.pm2', `PM2_HOME=${home}`]
  ] as const).reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`jpulse-site.logrotate has no "${from}"`)
    return text.replace(from, to)
  }, readFileSync(join(ROOT, 'deploy/jpulse-site.logrotate'), 'utf8'))
  const conf = join(folder, 'logrotate.conf')
  writeFileSync(conf, written, { mode: 0o644 })
  const env = { ...cleanEnv(), LD_LIBRARY_PATH: libraries(resolve(dirname(binary), '../..')) }
  const rotate = () => promisify(execFile)(binary, ['--force', '--state', join(folder, 'state'), conf], { env })

  const answered = new Set<number>()
  const stop = new AbortController()
  let next = 0
  const visitors = Array.from({ length: 8 }, async () => {
    while (!stop.signal.aborted) {
      const n = next++
      if ((await ask(`${address}/api/1/auth/status?n=${n}`)).status === 200) answered.add(n)
    }
  })
  // The last line may be on its way.
  const workersIn = (file: string) => new Set([...readFileSync(file, 'utf8').matchAll(/"pid":(\d+)/g)].map(([, pid]) => pid)).size
  for (let n = 0; n < ROTATIONS; n++) {
    const before = answered.size
    await waitFor(() => answered.size > before + 40, { what: 'requests', timeoutMs: 60_000 })
    await rotate()
    await waitFor(() => readdirSync(logs).includes('site.log') && workersIn(join(logs, 'site.log')) === 2, { what: 'both workers to write into the new file', timeoutMs: 60_000 })
  }
  stop.abort()
  await Promise.all(visitors)

  const files = readdirSync(logs).map((name) => join(logs, name))
  t.equal(files.length, ROTATIONS + 1, files.join())
  const seen = new Map<number, number>()
  for (const { msg, req } of linesOf(files)) {
    const n = /status\?n=(\d+)$/.exec(req?.url ?? '')?.[1]
    if (msg === 'incoming request' && n !== undefined) seen.set(Number(n), (seen.get(Number(n)) ?? 0) + 1)
  }
  t.ok(answered.size > 40 * ROTATIONS)
  t.same([...answered].filter((n) => seen.get(n) !== 1), [], `each of ${answered.size} requests has its line, once`)
})

interface Line { msg: string, req?: { url: string } }

/** Whole lines of JSON, or it throws. */
function linesOf (files: readonly string[]): Line[] {
  return files.flatMap((file) => {
    const bytes = readFileSync(file)
    const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString()
    return text.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Line)
  })
}

/** Folders of the libraries that were unpacked beside it; none where it is the system's own. */
function libraries (root: string): string {
  const folder = join(root, 'usr/lib')
  return root === '/' ? '' : [folder, ...readdirSync(folder).map((name) => join(folder, name))].join(':')
}
