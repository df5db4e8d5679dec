import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cleanEnv, ROOT } from '../scripts/bootstrap.js'
import { withServers } from '../scripts/site/given.js'
import { temporaryFolder, uniqueName, waitFor } from './helpers/index.ts'
import { page, start } from './helpers/npm-start.ts'

t.setTimeout(240_000)

interface Seeded { status: number, output: string }

/** `npm run seed`, less npm, for the site of a run folder. */
function seed (dir: string, args: string[], servers: Record<string, string> = {}): Promise<Seeded> {
  const { REDIS_URL: _redis, MONGODB_URI: _mongo, ...inherited } = cleanEnv()
  return new Promise((resolve) => {
    execFile(process.execPath, [join(ROOT, 'scripts/seed.js'), ...args], { env: { ...inherited, LOG_LEVEL: 'warn', JPULSE_RUN_DIR: dir, ...servers }, timeout: 60_000 },
      (err, stdout, stderr) => resolve({ status: err === null ? 0 : Number(err.code), output: stdout + stderr.replaceAll(/^· .*\n/gm, '') }))
  })
}

t.test('npm run seed fills the site that npm start runs, and no worker shows the charts of before', async (t) => {
  const dir = temporaryFolder(t)
  // What names keys and database apart from the servers, and is not said again.
  const started = await start(t, dir, { env: { SEED_PEOPLE: '100', SITE_ID: 'seeded', NODE_ENV: 'production' } })
  await started.ready(60_000)
  const people = async () => {
    const response = await fetch(`${started.address}/api/1/analytics/performance`, { headers: { connection: 'close' } })
    return `${response.headers.get('x-cache')} ${/"people":(\d+)/.exec(await response.text())?.[1]}`
  }
  await waitFor(async () => await people() === 'HIT 100', { what: 'a hundred people, cached', timeoutMs: 60_000 })
  t.same(await seed(dir, ['150']), { status: 0, output: '50 people added\n' })
  const answers = []
  for (let n = 0; n < 10; n++) answers.push((await people()).split(' ')[1])
  t.same(answers, Array.from({ length: 10 }, () => '150'))
  t.same(await seed(dir, ['150']), { status: 0, output: '0 people added\n' })
  t.match(await page(started, '/health'), '"status":"ok"')
  process.kill(started.pid, 'SIGTERM')
  t.equal(await started.exited, 0)
})

t.test('npm run seed fills the site that a file names', async (t) => {
  const dir = temporaryFolder(t)
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text, { mode: 0o600 })
    return join(dir, name)
  }
  const mongo = new URL(process.env.MONGODB_URI!)
  mongo.pathname = `/${uniqueName('seed')}`
  const ENV_FILE = file('site.env', `REDIS_URL=${process.env.REDIS_URL}\nMONGODB_URI_FILE=${file('mongo', `${mongo}\n`)}\nSITE_ID=${uniqueName('seed')}\nSESSION_SECRET=${'a secret of this test alone '.repeat(2)}\n`)
  t.same(await seed(dir, ['20'], { ENV_FILE }), { status: 0, output: '20 people added\n' })
  t.match(await seed(dir, ['20'], { ENV_FILE: join(dir, 'none') }), { status: 1, output: /^npm run seed fills/ })
})

t.test('what a file names npm start does not name as well', async (t) => {
  const servers = { REDIS_URL: 'redis://started', MONGODB_URI: 'mongodb://started' }
  const ENV_FILE = join(temporaryFolder(t), 'site.env')
  writeFileSync(ENV_FILE, 'REDIS_HOST=theirs\nMONGODB_URI=mongodb://theirs\n')
  for (const env of [{ ENV_FILE }, { REDIS_URL_FILE: 'a', MONGODB_URI_FILE: 'b' }]) t.same(withServers(env, servers), env)
  t.match(withServers({ ENV_FILE: 'none' }, servers), servers)
})

t.test('without a site that runs, or a number, npm run seed says so in one line and ends with 1', async (t) => {
  const dir = temporaryFolder(t)
  const cases: ReadonlyArray<[args: string[], servers: Record<string, string>, line: RegExp]> = [
    [[], {}, /^npm run seed .*npm start.*MONGODB_URI.*\n$/],
    // It could not tell the workers that what they have cached is out of date.
    [['5'], { MONGODB_URI: process.env.MONGODB_URI! }, /^npm run seed .*REDIS_URL.*\n$/],
    [['many'], { MONGODB_URI: process.env.MONGODB_URI!, REDIS_URL: process.env.REDIS_URL! }, /^usage: npm run seed \[COUNT\]\n$/],
    [['5'], { MONGODB_URI: process.env.MONGODB_URI!, REDIS_URL: process.env.REDIS_URL!, SITE_ID: 'a:b' }, /^SITE_ID must be .*\n$/]
  ]
  for (const [args, servers, line] of cases) {
    const { status, output } = await seed(dir, args, servers)
    t.equal(status, 1)
    t.match(output, line)
  }
  writeFileSync(join(dir, 'servers.json'), JSON.stringify({ pid: 2 ** 22 + 1, env: { REDIS_URL: 'redis://127.0.0.1:1', MONGODB_URI: 'mongodb://127.0.0.1:1' } }))
  t.match(await seed(dir, []), { status: 1, output: /^npm run seed .*npm start/ }, 'what a killed one left behind')
})
