import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { bootstrap, cleanEnv, ROOT } from './bootstrap.js'
import { namesMongo, namesRedis, withServers } from './site/given.js'
import { runSecrets } from './site/secrets.js'
import { runningServers } from './site/servers.js'

// npm run seed [COUNT]   fills the listing of the site that npm start runs in this checkout, or that REDIS_URL and
//                        MONGODB_URI name, also those of ENV_FILE, up to so many people; 10,000 where no count is given

const DIR = process.env.JPULSE_RUN_DIR || join(ROOT, '.run')

const env = seedEnv()
if (env === undefined) {
  // Without the site's Redis nobody could tell its workers that the charts they have cached are out of date.
  process.stderr.write('npm run seed fills the site that npm start runs in this checkout, and none does; for another site set both REDIS_URL and MONGODB_URI\n')
  process.exitCode = 1
} else {
  bootstrap()
  process.exitCode = spawnSync(process.execPath, [join(ROOT, 'examples/jpulse-site/dist/seed.js'), ...process.argv.slice(2)], { env, stdio: ['ignore', 'inherit', 'inherit'] }).status ?? 1
}

/** The environment of the site to fill, undefined where nothing says which one that is. */
function seedEnv () {
  // A name that no worker has: it is a member of the cluster for as long as it runs.
  const own = { SERVER_ID: 'seed', ...cleanEnv() }
  if (namesRedis(own) && namesMongo(own)) return own
  const servers = runningServers(DIR)
  if (servers === undefined) return undefined
  const { SITE_ID, NODE_ENV, ENV_FILE } = servers
  return withServers({ SITE_ID, NODE_ENV, ENV_FILE, SESSION_SECRET: runSecrets(DIR).secrets.sessionSecret, ...own }, servers)
}
