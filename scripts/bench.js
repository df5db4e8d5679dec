import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bootstrap, cleanEnv, ROOT, run, say } from './bootstrap.js'
import { provideMongo, provideRedis } from './servers/provider.js'

// npm run bench             every benchmark, one after the other
// npm run bench -- NAME…    those whose path holds one of the names; what begins with -- is handed to them

const wanted = process.argv.slice(2).filter((arg) => !arg.startsWith('--'))
const options = process.argv.slice(2).filter((arg) => arg.startsWith('--'))
const folder = join(ROOT, 'benchmarks')
const benchmarks = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'node_modules')
  .flatMap(({ name }) => readdirSync(join(folder, name)).filter((file) => file.endsWith('.bench.js')).map((file) => join(name, file)))
  .filter((path) => wanted.length === 0 || wanted.some((name) => path.includes(name)))

bootstrap()
const dir = mkdtempSync(join(tmpdir(), 'jpulse-bench-'))
const redis = await provideRedis({ dir, say })
const mongo = await provideMongo({ dir, say })
for (const path of benchmarks) {
  say(path)
  run(process.execPath, [join(folder, path), ...options], { ...cleanEnv(), REDIS_URL: redis.url, MONGODB_URI: mongo.url })
}
await redis.stop()
await mongo.stop()
rmSync(dir, { recursive: true, force: true })
