import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { sharedRedis, uniqueName } from '../../../test/helpers/index.ts'

t.test('the example of the README runs as it stands, with Redis and without', async (t) => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
  const example = /```ts\n(.*?)```/s.exec(readme)?.[1]
  t.ok(example)
  // Beside the package, so that its imports are found.
  const file = fileURLToPath(new URL(`../${uniqueName('readme')}.mjs`, import.meta.url))
  t.teardown(() => rm(file, { force: true }))
  await writeFile(file, `${example}\nawait app.close()\n`)
  for (const REDIS_URL of [sharedRedis(), undefined]) {
    const { stdout } = await promisify(execFile)(process.execPath, [file], { env: { PATH: process.env.PATH, SERVER_ID: 'web', ...(REDIS_URL === undefined ? {} : { REDIS_URL }) } })
    t.equal(stdout, 'web:0 myApp:order:new { id: 7 }\n')
  }
})
