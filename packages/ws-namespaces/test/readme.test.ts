import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { sharedRedis, uniqueName } from '../../../test/helpers/index.ts'

/** What a reader would type next. */
const FOLLOWS = `
import { WebSocket } from 'ws'
const { port } = app.server.address()
const ws = new WebSocket(\`ws://127.0.0.1:\${port}/api/1/ws/chat\`, { headers: { user: 'ann' } })
const got = []
await new Promise((resolve) => ws.on('message', (data) => {
  const message = JSON.parse(data)
  got.push(message.type)
  if (message.type === 'connected') ws.send(JSON.stringify({ type: 'say', data: 'hello', id: 1 }))
  if (message.type === 'said') console.log(message.data, message.ctx.userId)
  if (got.length === 3) resolve()
}))
await app.close()
`

t.test('the example of the README runs as it stands, with Redis and without', async (t) => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
  const example = /```ts\n(.*?)```/s.exec(readme)?.[1]
  t.ok(example)
  const file = fileURLToPath(new URL(`../${uniqueName('readme')}.mjs`, import.meta.url))
  t.teardown(() => rm(file, { force: true }))
  await writeFile(file, `${example}${FOLLOWS}`)
  for (const REDIS_URL of [sharedRedis(), undefined]) {
    const { stdout } = await promisify(execFile)(process.execPath, [file], { env: { PATH: process.env.PATH, ...(REDIS_URL === undefined ? {} : { REDIS_URL }) } })
    t.equal(stdout, 'hello ann\n')
  }
})
