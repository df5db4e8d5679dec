import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cleanEnv } from '../../scripts/bootstrap.js'
import { freePort } from '../../scripts/servers/free-port.js'
import { runCluster, runSingle } from '../../scripts/site/run-site.js'
import { mongo } from './mongo.ts'
import { sharedRedis } from './redis-server.ts'
import { temporaryFolder, uniqueName, type Scope } from './scope.ts'

export interface SiteOptions {
  /** PM2 cluster workers; 0 runs the site as one process on the embedded defaults. @default 2 */
  workers?: number
  /** Which app of the ecosystem file. One process without PM2 is always jpulse-site. @default 'jpulse-site' */
  app?: string
  /** Another ecosystem file. @default that of the checkout */
  ecosystem?: string
  /** Variables for the workers, over those of a site of the test's own. */
  env?: Record<string, string>
}

export interface TestSite {
  /** `http://127.0.0.1:<port>` */
  readonly address: string
  /** PM2's command line for this site's PM2 alone: `pm2('reload', 'jpulse-site')` resolves with what it printed. */
  pm2 (...args: string[]): Promise<string>
  /** Runs a script of a document's, in which `pm2` is this site's, with variables over those that the site has. */
  shell (script: string, env?: Record<string, string>): Promise<string>
  /** PM2's folder. */
  readonly home: string
  /** What the workers and PM2 printed so far. */
  output (): string
  /** Drains the workers and ends them. It also happens at the end of the test. */
  stop (): Promise<void>
}

const START_TIMEOUT_MS = 120_000

/**
 * A site in processes of its own: PM2 cluster workers on the servers that `npm test` provided, or one embedded
 * process. It has a port, keys, a database and a PM2 of its own, and ends with the test, also where the test crashes.
 */
export async function site (t: Scope, { workers = 2, app, ecosystem, env: own = {} }: SiteOptions = {}): Promise<TestSite> {
  const dir = join(temporaryFolder(t), 'site')
  mkdirSync(dir)
  const log = join(dir, 'site.log')
  const env = { ...await baseEnv(), ...workers > 0 && await serversEnv(t), ...own }
  const running = workers > 0
    ? await runCluster({ env, log, home: join(dir, 'pm2'), instances: workers, ...app !== undefined && { app }, ...ecosystem !== undefined && { ecosystem } })
    : { ...await runSingle({ env, log }), home: dir, pm2: noPm2, shell: noPm2 }
  let stopped: Promise<void> | undefined
  const stop = () => (stopped ??= running.stop())
  t.teardown(stop)
  await running.ready(AbortSignal.timeout(START_TIMEOUT_MS))
  return { address: running.address, pm2: running.pm2, shell: running.shell, home: running.home, output: () => readFileSync(log, 'utf8'), stop }
}

const noPm2 = async () => { throw new Error('the embedded site has no PM2') }

/** The environment without what configures a site. */
async function baseEnv (): Promise<Record<string, string>> {
  const { REDIS_URL: _redis, MONGODB_URI: _mongo, EMBEDDED: _embedded, INSTANCES: _instances, ...inherited } = cleanEnv()
  return { ...inherited as Record<string, string>, HOST: '127.0.0.1', PORT: String(await freePort()), SERVER_ID: 'test', LOG_LEVEL: 'warn', SEED_PEOPLE: '0', PASSWORD_COST: '10' }
}

/** Variables that give a site keys and a database of the test's own on the servers that `npm test` provided. */
export async function serversEnv (t: Scope): Promise<Record<string, string>> {
  const { url, db } = await mongo(t)
  return { SITE_ID: uniqueName('site'), REDIS_URL: sharedRedis(), MONGODB_URI: `${url}/${db.databaseName}?socketTimeoutMS=8000` }
}
