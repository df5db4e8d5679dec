import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { OWN } from '../src/formats/index.ts'
import * as exported from '../src/index.ts'
import { sharedRedis, uniqueName } from '../../../test/helpers/index.ts'
import { ADMIN, build } from './build.ts'
import { parsePrometheus } from './prometheus-parser.ts'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')

t.test('the example of the README runs as it stands, with Redis and without', async (t) => {
  const example = /```ts\n(.*?)```/s.exec(readme)?.[1]
  t.ok(example)
  // Beside the package, so that its imports are found.
  const file = fileURLToPath(new URL(`../${uniqueName('readme')}.mjs`, import.meta.url))
  t.teardown(() => rm(file, { force: true }))
  await writeFile(file, `${example}\nawait app.close()\n`)
  for (const REDIS_URL of [sharedRedis(), undefined]) {
    const { stdout } = await promisify(execFile)(process.execPath, [file], { env: { PATH: process.env.PATH, SERVER_ID: 'web1', NODE_APP_INSTANCE: '2', ...(REDIS_URL === undefined ? {} : { REDIS_URL }) } })
    t.equal(stdout, 'ok 1 web1:2 { orders: 1 }\n')
  }
})

t.test('the example of being told runs as it stands', async (t) => {
  const [, first, second] = /```ts\n(import .*?\n\n).*?```ts\n(.*?)```/s.exec(readme) ?? []
  const file = fileURLToPath(new URL(`../${uniqueName('readme')}.mjs`, import.meta.url))
  t.teardown(() => rm(file, { force: true }))
  await writeFile(file, `${first}\nconst app = Fastify()\napp.register(redisLink)\napp.register(clusterBroadcast)\n${second}\nconsole.log(app.clusterMetrics.listenerCount('down'))\nawait app.close()\n`)
  const { stdout } = await promisify(execFile)(process.execPath, [file], { env: { PATH: process.env.PATH, ALERT_URL: 'http://127.0.0.1:9/', ALERT_SECRET: 'a secret of 16 characters' } })
  t.equal(stdout, '1\n')
})

t.test('the README names every option, error and metric', async (t) => {
  for (const name of Object.keys(exported).filter((name) => name.startsWith('FST_ERR_'))) t.ok(readme.includes(`\`${name}\``), name)
  const options = await readFile(new URL('../src/options.ts', import.meta.url), 'utf8')
  const fields = /export interface FastifyClusterMetricsOptions \{(.*?)\n\}/s.exec(options)![1]!
  for (const [, name] of fields.matchAll(/^ {2}(\w+)\?:/gm)) t.ok(readme.includes(`| \`${name}\` |`), name!)
  for (const name of Object.keys(OWN)) t.ok(readme.includes(`\`${name}\``), name)
  const { app } = await build(t, { options: { registry: false } })
  await app.inject('/nowhere')
  for (const url of ['/metrics', '/metrics?scope=cluster']) {
    const { body } = await app.inject({ url, headers: ADMIN })
    for (const name of parsePrometheus(body).keys()) t.ok(readme.includes(`\`${name}\``), name)
  }
})
