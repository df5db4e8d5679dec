import { readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import * as errors from '../src/errors.ts'
import { resolveOptions } from '../src/options.ts'
import { storeConformance } from '@jpulse/redis-sessions/conformance'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { sharedRedis, uniqueName } from '../../../test/helpers/index.ts'
import { Browser, SECRET } from './support/app.ts'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')

t.test('the example of the README runs as it stands', async (t) => {
  const code = /## Example\n\n```js\n([\s\S]*?)```/.exec(readme)![1]!
  const path = fileURLToPath(new URL(`readme-${uniqueName()}.mjs`, import.meta.url))
  t.teardown(() => rm(path, { force: true }))
  await writeFile(path, `const checkPassword = async ({ id }) => ({ id, name: 'Ada' })\n${code.replace("siteId: 'shop'", `siteId: '${uniqueName()}'`)}\nexport default app\n`)
  process.env.SESSION_SECRET = SECRET
  process.env.REDIS_URL = sharedRedis()
  const { default: app } = await import(pathToFileURL(path).href) as { default: FastifyInstance }
  t.teardown(() => app.close())
  await app.ready()
  const browser = new Browser(app)
  t.same((await browser.post('/login', { id: 'u' })).json(), { welcome: 'Ada' })
  t.match((await browser.get('/devices')).json(), [{ current: true }])
  t.same((await browser.post('/logout')).json(), { bye: true })
  t.same((await browser.get('/devices')).json(), [])
})

t.test('the README names every error code with its status, and every option', async (t) => {
  for (const [name, make] of Object.entries(errors)) {
    if (!name.startsWith('FST_')) continue
    const { code, statusCode } = new (make as unknown as new (...args: unknown[]) => { code: string, statusCode: number })('a', 'b')
    t.match(readme, `| \`${code}\` | ${statusCode} |`)
  }
  for (const option of [...Object.keys(resolveOptions({ secret: SECRET })), 'encryption', 'backup']) {
    t.match(readme, `| \`${option === 'secrets' ? 'secret' : option}\` |`)
  }
})

t.test('the conformance suite is exported', async (t) => {
  t.ok(storeConformance.length > 10)
  t.ok(storeConformance.every(({ name, lifetimes, run }) => name && lifetimes.idleTimeoutMs > 0 && typeof run === 'function'))
})
