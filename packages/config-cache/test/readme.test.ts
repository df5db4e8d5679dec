import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { freePort, sharedRedis, uniqueName, waitFor, workers } from '../../../test/helpers/index.ts'

t.test('the example of the README runs as it stands', async (t) => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const code = /## Example\n\n```js\n([\s\S]*?)```/.exec(readme)![1]!
  t.ok(code.includes("siteId: 'shop'"))
  const file = new URL(`fixtures/${uniqueName('example')}.js`, import.meta.url)
  t.teardown(() => rmSync(file, { force: true }))
  writeFileSync(file, code.replace("siteId: 'shop'", `siteId: '${uniqueName()}'`).replace('blockTtlMs: 5000', 'blockTtlMs: 500') + "\nprocess.stdout.write('ready\\n')\n")
  const port = await freePort()
  await workers(t, 1, file, { env: { PORT: String(port), REDIS_URL: sharedRedis() } })
  const url = `http://127.0.0.1:${port}/greeting`
  t.strictSame(await (await fetch(url)).json(), { greeting: null })
  const saved = await fetch(url, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: '{"text":"hello"}' })
  t.strictSame(await saved.json(), { saved: true })
  await waitFor(async () => (await (await fetch(url)).json() as { greeting: { text: string } }).greeting.text === 'hello')
})
