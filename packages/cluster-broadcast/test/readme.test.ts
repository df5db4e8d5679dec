import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { sharedRedis, uniqueName } from '../../../test/helpers/index.ts'

const examples = [...(await readFile(new URL('../README.md', import.meta.url), 'utf8')).matchAll(/```ts\n(.*?)```/gs)].map(([, text]) => text!)

/** What an example prints. It stands beside the package, so that its imports are found. */
async function run (t: Test, example: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const file = fileURLToPath(new URL(`../${uniqueName('readme')}.mjs`, import.meta.url))
  t.teardown(() => rm(file, { force: true }))
  await writeFile(file, example)
  return (await promisify(execFile)(process.execPath, [file], { env: { PATH: process.env.PATH, SERVER_ID: 'web', ...env } })).stdout
}

t.test('the first example of the README runs as it stands, with Redis and without', async (t) => {
  for (const env of [{ REDIS_URL: sharedRedis() }, {}]) {
    t.equal(await run(t, `${examples[0]}\nawait app.close()\n`, env), 'web:0 myApp:order:new { id: 7 }\n')
  }
})

t.test('the example of a test runs as it stands', async (t) => {
  t.equal(await run(t, examples[1]!), 'test:one { id: 7 }\n2\n')
})
