import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { BY_NAME, choose } from './benchmarks.js'
import { bootstrap, cleanEnv, ROOT, say, temporaryFolder } from './bootstrap.js'
import { provideMongo, provideRedis } from './servers/provider.js'
import { stopAll } from './stop-all.js'

// npm run bench             every benchmark but the plan's, one after the other
// npm run bench -- NAME…    those whose path holds one of the names; what begins with -- is handed to them
// npm run bench -- plan     the plan's tables, into docs/scale.md

const names = process.argv.slice(2).filter((arg) => !arg.startsWith('--'))
const options = process.argv.slice(2).filter((arg) => arg.startsWith('--'))
const folder = join(ROOT, 'benchmarks')
const { paths, unknown } = choose(folder, names)
if (unknown.length > 0) {
  say(`no benchmark is called ${unknown.join(', ')}`)
  process.exit(64)
}

bootstrap()
const dir = temporaryFolder('bench')
/** @type {Array<() => Promise<void>>} */
const stops = []
try {
  const redis = await provideRedis({ dir, say })
  stops.push(redis.stop)
  const mongo = await provideMongo({ dir, say })
  stops.push(mongo.stop)
  for (const path of paths) {
    say(path)
    const { status, signal, error } = spawnSync(process.execPath, [join(folder, path), ...options], { cwd: ROOT, env: { ...cleanEnv(), REDIS_URL: redis.url, MONGODB_URI: mongo.url }, stdio: ['ignore', 'inherit', 'inherit'] })
    if (error !== undefined) throw error
    if (status === 0) continue
    say(`${path} failed: ${signal ?? status}`)
    process.exitCode ||= status ?? 1
  }
} finally {
  await stopAll(stops)
}
if (names.length === 0) say(`${BY_NAME} was left out: npm run bench -- plan runs it for 20 minutes and writes docs/scale.md`)
