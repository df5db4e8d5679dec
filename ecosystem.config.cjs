const { readFileSync } = require('node:fs')
const { availableParallelism } = require('node:os')
const { parseEnv } = require('node:util')

// Every variable of the environment reaches the workers: PORT, HOST, SITE_ID, SERVER_ID, REDIS_URL, MONGODB_URI …
// (examples/jpulse-site/README.md). INSTANCES sets the number of workers; two at least show what a cluster does.
const INSTANCES = ofFile().INSTANCES ?? process.env.INSTANCES
const instances = INSTANCES ? Number(INSTANCES) : Math.max(2, availableParallelism())
if (!Number.isInteger(instances) || instances < 1) throw new Error(`INSTANCES must be a whole number from 1, not "${INSTANCES}"`)

/** The variables of ENV_FILE go before the environment; the workers say it where they cannot read it. */
function ofFile () {
  try {
    return process.env.ENV_FILE ? parseEnv(readFileSync(process.env.ENV_FILE, 'utf8')) : {}
  } catch {
    return {}
  }
}

/** What all workers have in common. */
const worker = {
  cwd: __dirname,
  exec_mode: 'cluster',
  // A worker says when it listens; until then a reload keeps its predecessor. PM2 ends the predecessor when this
  // time is over whether or not its successor listens, so the time is for a machine under heavy load.
  wait_ready: true,
  listen_timeout: 60_000,
  // Longer than the worker's own limit for a drain, so that SIGKILL is never what ends it.
  kill_timeout: 6000,
  // Workers have no children to look for, and a bare machine has no ps to look with.
  treekill: false,
  max_memory_restart: '512M',
  // A configuration that makes no sense does not get better by trying again.
  stop_exit_codes: [78],
  merge_logs: true,
  // Where the journal or the container keeps what pm2-runtime prints, and nobody would rotate PM2's own files.
  ...(process.env.NO_LOG_FILES === '1' && { out_file: '/dev/null', error_file: '/dev/null' }),
  env_production: { NODE_ENV: 'production' }
}

module.exports = {
  apps: [
    { ...worker, name: 'jpulse-site', script: './examples/jpulse-site/dist/server.js', instances },
    // Four workers unless told otherwise, as in the plan that it answers (examples/rerum-store/README.md).
    { ...worker, name: 'rerum-store', script: './examples/rerum-store/dist/server.js', instances: INSTANCES ? instances : 4 }
  ]
}
