import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { bootstrap, cleanEnv, ROOT, run, say, temporaryFolder } from './bootstrap.js'
import { cacheFolder, onPath } from './servers/binaries.js'
import { freePort } from './servers/free-port.js'
import { provideMongo, provideRedis } from './servers/provider.js'
import { runSingle } from './site/run-site.js'
import { stopAll } from './stop-all.js'

// npm run schemathesis -- [site|store]   requests made from the OpenAPI documents of the site and of rerum-store, sent as a
//                                        visitor, a user and an administrator: none may be answered by a 5xx, by a status or a
//                                        body that the document does not describe. EXAMPLES sets how many of each kind (50).

const VERSION = '4.32.5'
const CHECKS = 'not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance'
const EXAMPLES = process.env.EXAMPLES ?? '50'
const [only, ...others] = process.argv.slice(2)
if ((only !== undefined && !['site', 'store'].includes(only)) || others.length > 0) {
  say('usage: npm run schemathesis -- [site|store]')
  process.exit(64)
}
const ADMIN = { ADMIN_USERNAME: 'admin', ADMIN_EMAIL: 'admin@example.org', ADMIN_PASSWORD: 'correct horse battery' }
const JWT_SECRET = 'a secret of the schemathesis run alone'

bootstrap()
const dir = temporaryFolder('schemathesis')
/** What to end, the last started first. @type {Array<() => Promise<unknown>>} */
const started = []
let failed = 0
try {
  const st = schemathesis()
  const redis = await provideRedis({ dir, say })
  started.push(redis.stop)
  const mongo = await provideMongo({ dir, say })
  started.push(mongo.stop)
  const servers = { REDIS_URL: redis.url, MONGODB_URI: `${mongo.url}/?socketTimeoutMS=8000`, LOG_LEVEL: 'error', PASSWORD_COST: '10', SEED_PEOPLE: '300' }
  if (only !== 'store') await testSite(st, servers)
  if (only !== 'site') await testStore(st, servers)
} finally {
  await stopAll(started)
}
say(failed === 0 ? 'no findings' : `findings in ${failed} runs: see above`)
if (failed > 0) process.exitCode = 1

/** @param {string} st @param {NodeJS.ProcessEnv} servers */
async function testSite (st, servers) {
  const address = await serve('jpulse-site', { ...servers, ...ADMIN, SITE_ID: `site-${process.pid}` })
  await submit(`${address}/sign-up`, { username: 'ada', email: 'ada@example.org', password: ADMIN.ADMIN_PASSWORD })
  check(st, 'the site, as a visitor', `${address}/docs/json`, [])
  for (const username of ['ada', 'admin']) {
    const cookie = await signedIn(address, username)
    // Who signs out is a visitor, and that was the run before.
    check(st, `the site, as ${username}`, `${address}/docs/json`, ['--header', `Cookie: ${cookie}`, '--exclude-path-regex', '/auth/logout'])
  }
}

/** @param {string} st @param {NodeJS.ProcessEnv} servers */
async function testStore (st, servers) {
  const address = await serve('rerum-store', { ...servers, JWT_SECRET, SITE_ID: `store-${process.pid}` })
  check(st, 'the store, as a visitor', `${address}/v1/openapi.json`, [])
  for (const role of [[], ['admin']]) {
    const { stdout } = spawnSync(process.execPath, [join(ROOT, 'examples/rerum-store/dist/token.js'), 'https://example.org/agents/ada', ...role], { env: { ...cleanEnv(), JWT_SECRET }, encoding: 'utf8' })
    check(st, `the store, as ${role[0] ?? 'an agent'}`, `${address}/v1/openapi.json`, ['--header', `Authorization: Bearer ${stdout.trim()}`])
  }
}

/** @param {string} st @param {string} what @param {string} document @param {string[]} args */
function check (st, what, document, args) {
  say(what)
  const { status } = spawnSync(st, ['run', document, '--url', new URL(document).origin, '--checks', CHECKS, '--phases', 'examples,coverage,fuzzing', '--max-examples', EXAMPLES,
    '--continue-on-failure', '--seed', process.env.SEED ?? '1', '--request-timeout', '20', '--suppress-health-check', 'all', '--warnings', 'off', '--no-color', ...args], { cwd: dir, env: cleanEnv(), stdio: ['ignore', 'inherit', 'inherit'] })
  if (status !== 0) failed++
}

/** @param {string} example @param {NodeJS.ProcessEnv} env @returns {Promise<string>} its address */
async function serve (example, env) {
  const site = await runSingle({ env: { ...cleanEnv(), ...env, HOST: '127.0.0.1', PORT: String(await freePort()) }, log: join(dir, `${example}.log`), script: `examples/${example}/dist/server.js` })
  started.push(site.stop)
  await site.ready(AbortSignal.timeout(60_000))
  return site.address
}

/** @param {string} url @param {Record<string, string>} fields */
function submit (url, fields) {
  return fetch(url, { method: 'POST', headers: { 'sec-fetch-site': 'same-origin' }, body: new URLSearchParams(fields), redirect: 'manual' })
}

/** @param {string} address @param {string} username @returns {Promise<string>} the cookie */
async function signedIn (address, username) {
  const response = await submit(`${address}/sign-in`, { username, password: ADMIN.ADMIN_PASSWORD })
  const cookie = response.headers.get('set-cookie')?.split(';')[0]
  if (response.status !== 303 || cookie === undefined) throw new Error(`${username} could not sign in: ${response.status}`)
  return cookie
}

/** @returns {string} the tool: of PATH, else of PyPI, in the cache folder */
function schemathesis () {
  const found = onPath('st')
  if (found !== undefined) return found
  const folder = join(cacheFolder(), `schemathesis-${VERSION}`)
  const st = join(folder, 'bin/st')
  if (!existsSync(st)) {
    say('installing schemathesis of PyPI into the cache folder (once)')
    run('python3', ['-m', 'venv', folder])
    run(join(folder, 'bin/pip'), ['install', '--quiet', `schemathesis==${VERSION}`])
  }
  return st
}
