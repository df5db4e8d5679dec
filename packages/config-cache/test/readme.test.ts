import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { orders } from './fixtures/orders.js'
import { Oplog } from './oplog.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

/** The code of a part of the README, block by block. */
const blocks = (title: string): string[] =>
  [...(new RegExp(`\n## ${title}\n(.*?)\n## `, 's').exec(readme)?.[1] ?? '').matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code!)

/** The address of a module beside what the examples import. */
function written (t: Test, code: string): string {
  const file = new URL(`fixtures/${uniqueName('example')}.js`, import.meta.url)
  t.teardown(() => rmSync(file, { force: true }))
  writeFileSync(file, code)
  return file.href
}

/** Runs the first example of a part as it stands, but for the names that it must not share. */
async function run (t: Test, title: string): Promise<FastifyInstance> {
  const [code] = blocks(title)
  t.ok(code?.includes("siteId: 'shop'"), title)
  const own = code!.replace("siteId: 'shop'", `siteId: '${uniqueName()}'`).replace('logger: true', 'logger: false').replace('blockTtlMs: 5000', 'blockTtlMs: 500')
  process.env.PORT = '0'
  process.env.REDIS_URL = sharedRedis()
  const { app } = await import(written(t, `${own}\nexport { app }\n`)) as { app: FastifyInstance }
  t.teardown(() => app.close())
  await waitFor(() => app.configCache.mode === 'coherent', { timeoutMs: 20_000 })
  return app
}

const ask = async (app: FastifyInstance, method: 'GET' | 'PUT' | 'POST', url: string, payload?: object, headers = {}) =>
  (await app.inject({ method, url, headers, ...payload === undefined ? {} : { payload } })).json() as unknown

t.test('the example of documents and flags runs as it stands', async (t) => {
  const app = await run(t, 'Documents and flags')
  t.strictSame(await ask(app, 'GET', '/greeting'), { greeting: null })
  t.strictSame(await ask(app, 'PUT', '/greeting', { text: 'hello' }), { saved: true })
  t.strictSame(await ask(app, 'GET', '/greeting'), { greeting: 'hello' })
  t.strictSame(await ask(app, 'PUT', '/loud', { enabled: true }), { saved: true })
  t.strictSame(await ask(app, 'GET', '/greeting'), { greeting: 'HELLO' })
})

t.test('the example of OpenFeature runs as it stands', async (t) => {
  const app = await run(t, 'Documents and flags')
  const code = blocks('Documents and flags').find((block) => block.includes('OpenFeature'))!
  const [, imports, body] = /^((?:import [^\n]*\n)+)(.*)$/s.exec(code)!
  const { default: call } = await import(written(t, `${imports}export { OpenFeature }\nexport default async (app, user) => { ${body}; return [isNew, isNewToo] }`)) as { default: (...given: unknown[]) => Promise<boolean[]> }
  t.strictSame(await call(app, { id: 'ann', email: 'ann@example.com' }), [true, true])
  const users = await Promise.all(Array.from({ length: 20 }, (_, id) => call(app, { id: String(id), email: 'x@elsewhere.org' })))
  t.ok(users.every(([one, other]) => one === other))
  t.ok(users.some(([one]) => one) && !users.every(([one]) => one), 'some of twenty')
})

t.test('the examples of loaders run as they stand', async (t) => {
  const app = await run(t, 'Loaders')
  t.strictSame(await ask(app, 'GET', '/total/ann'), { total: 0 })
  t.strictSame(await ask(app, 'POST', '/order/ann', { sum: 5 }), { ordered: true })
  t.strictSame(await ask(app, 'GET', '/total/ann'), { total: 5 })
  const { loads } = orders
  t.strictSame(await ask(app, 'GET', '/total/ann'), { total: 5 })
  t.equal(orders.loads, loads)
  const [, handsOn] = blocks('Loaders')
  const { default: call } = await import(written(t, `export default async (app, orders, order) => { ${handsOn} }`)) as { default: (...given: unknown[]) => Promise<void> }
  await call(app, { add: async () => 12 }, {})
  t.equal(await app.configCache.getOrLoad('total', {}, () => -1), 12)
})

t.test('the example of a change stream runs as it stands', async (t) => {
  const [, imports, body] = /^((?:import [^\n]*\n)+)(.*)$/s.exec(blocks('Writes that bypass the cache')[0]!)!
  const { default: call } = await import(written(t, `${imports}export default async (app) => { ${body} }`)) as { default: (app: object) => Promise<void> }
  const [oplog, dropped, closing] = [new Oplog(), [] as string[], [] as Array<() => Promise<void>>]
  await call({ configCache: { invalidate: async (tags: string[]) => { dropped.push(...tags) } }, mongo: { db: { collection: () => oplog } }, log: { info () {}, warn () {} }, addHook: (_name: string, close: () => Promise<void>) => closing.push(close) })
  oplog.push({ operationType: 'replace', documentKey: { _id: 7 } })
  await waitFor(() => dropped.length === 2)
  t.strictSame(dropped, ['users', 'users:7'])
  for (const close of closing) await close()
})

t.test('the example of routes runs as it stands', async (t) => {
  const app = await run(t, 'Routes')
  const { total } = await ask(app, 'GET', '/report') as { total: number }
  await waitFor(async () => (await app.inject('/report')).headers['x-cache'] === 'HIT')
  t.strictSame(await ask(app, 'GET', '/mine', undefined, { authorization: 'bob' }), { total: 0 })
  t.strictSame(await ask(app, 'POST', '/order/bob', { sum: 2 }), { ordered: true })
  t.strictSame(await ask(app, 'GET', '/report'), { total: total + 2 })
  t.strictSame(await ask(app, 'GET', '/mine', undefined, { authorization: 'bob' }), { total: 2 })
  t.strictSame(await ask(app, 'GET', '/mine', undefined, { authorization: 'eve' }), { total: 0 })
})

t.test('the README names every option, error and channel', async (t) => {
  const exported = Object.keys(await import('../src/index.ts'))
  for (const name of exported.filter((name) => name.startsWith('FST_ERR_'))) t.ok(readme.includes(`\`${name}\``), name)
  /** But for those that are of the suite alone. */
  const fields = (file: string, name: string) => [...new RegExp(`interface ${name}\\b[^{]*\\{(.*?)\n\\}`, 's')
    .exec(readFileSync(new URL(`../src/${file}`, import.meta.url), 'utf8'))![1]!.replaceAll(/^ {2}\/\*\*(?:(?!\*\/)[^])*@internal(?:(?!\*\/)[^])*\*\/\n.*/gm, '').matchAll(/^ {2}(\w+)\?:/gm)].map(([, field]) => field!)
  const flags = readFileSync(new URL('../docs/flags.md', import.meta.url), 'utf8')
  for (const field of fields('features/definition.ts', 'Feature')) t.match(flags, new RegExp(`^\\| \`${field}\` \\|`, 'm'), field)
  for (const [file, name] of [['options.ts', 'FastifyConfigCacheOptions'], ['calls.ts', 'LoadOptions'], ['calls.ts', 'Write'], ['calls.ts', 'FeatureOptions'], ['routes/options.ts', 'RouteCacheOptions']] as const) {
    for (const field of fields(file, name)) t.match(readme, new RegExp(`\\b${field}\\b`), `${name}.${field}`)
  }
})
