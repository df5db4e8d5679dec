import { once } from 'node:events'
import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ROOT } from '../scripts/bootstrap.js'
import { freePort, mongo, redisServer, temporaryFolder, waitFor } from './helpers/index.ts'

// What a page of docs/migrating shows, before and after: whole programs, which are asked the same and answer the same.

const SECRET = 'a secret of more than thirty-two characters'

/** The programs of a page, in its order: those before have an even place. */
const programs = (page: string) => [...readFileSync(join(ROOT, `docs/migrating/${page}.md`), 'utf8').matchAll(/```js\n([^]*?)```/g)].map(([, code]) => code!)

interface Program { said: () => string, child: ChildProcess }

/** Runs a program beside the packages of before and of after, which the benchmarks have. */
function run (t: Test, code: string, env: Record<string, string>): Program {
  const folder = temporaryFolder(t)
  symlinkSync(join(ROOT, 'benchmarks/node_modules'), join(folder, 'node_modules'))
  writeFileSync(join(folder, 'app.mjs'), code)
  const child = spawn(process.execPath, ['app.mjs'], { cwd: folder, env: { PATH: process.env.PATH, SESSION_SECRET: SECRET, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { said += chunk })
  t.teardown(async () => { if (child.exitCode === null && child.signalCode === null && child.kill('SIGKILL')) await once(child, 'exit') })
  return { said: () => said, child }
}

/** Runs a program that listens. @returns its address, once it answers */
async function serve (t: Test, code: string, env: Record<string, string>): Promise<string> {
  const port = await freePort()
  const { said, child } = run(t, code, { ...env, PORT: String(port) })
  const address = `http://127.0.0.1:${port}`
  await waitFor(async () => {
    if (child.exitCode !== null) throw new Error(said())
    // One of them answers nothing that it does not know.
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.destroy()
    return true
  }, { what: 'the program to listen', timeoutMs: 30_000 })
  return address
}

const json = async (address: string, method = 'GET', body?: object, headers: Record<string, string> = {}) => {
  const response = await fetch(address, { method, headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) }, ...(body !== undefined && { body: JSON.stringify(body) }) })
  return { status: response.status, cookie: response.headers.getSetCookie()[0]?.split(';')[0], body: await response.json() as Record<string, unknown> }
}

for (const [place, when] of ['before', 'after'].entries()) {
  t.test(`socket-io, ${when}: who speaks on one server is heard on the other`, async (t) => {
    const code = programs('socket-io')
    const { url } = await redisServer(t)
    const ports = await Promise.all([1, 2].map(async () => new URL(await serve(t, code[place]!, { REDIS_URL: url })).port))
    const ada = run(t, code[place + 2]!, { PORT: ports[0]!, NAME: 'Ada' })
    await waitFor(() => ada.said().includes('connected'), { what: 'Ada', timeoutMs: 20_000 }).catch((err) => { throw new Error(`${err.message}: ${ada.said()}`) })
    const grace = run(t, code[place + 2]!, { PORT: ports[1]!, NAME: 'Grace', SAY: 'hello' })
    await waitFor(() => [ada, grace].every(({ said }) => said().includes('Grace: hello')) && grace.said().includes('{ heard: true }'), { what: 'what Grace said', timeoutMs: 20_000 })
      .catch((err) => { throw new Error(`${err.message}: ${ada.said()} ${grace.said()}`) })
    t.pass()
  })

  t.test(`connect-redis, ${when}: a session counts, is known after a login, and is over after a logout`, async (t) => {
    const { url } = await redisServer(t)
    const address = await serve(t, programs('connect-redis')[place]!, { REDIS_URL: url })
    const first = await json(`${address}/visit`, 'POST')
    t.match(first, { body: { name: null, visits: 1 }, cookie: /^sessionId=/ })
    const login = await json(`${address}/login`, 'POST', { name: 'Ada' }, { cookie: first.cookie! })
    t.match(login, { body: { welcome: 'Ada' }, cookie: /^sessionId=/ })
    t.not(login.cookie, first.cookie)
    const headers = { cookie: login.cookie! }
    t.same((await json(`${address}/visit`, 'POST', undefined, headers)).body, { name: 'Ada', visits: 1 })
    t.same((await json(`${address}/visit`, 'POST', undefined, headers)).body, { name: 'Ada', visits: 2 })
    t.equal((await json(`${address}/logout`, 'POST', undefined, headers)).status, 200)
    t.same((await json(`${address}/visit`, 'POST', undefined, headers)).body, { name: null, visits: 1 })
  })

  t.test(`bentocache, ${when}: a price is read from the cache, and the next one after it was changed on the other process`, async (t) => {
    const { url, client } = await redisServer(t)
    const [one, two] = await Promise.all([1, 2].map(() => serve(t, programs('bentocache')[place]!, { REDIS_URL: url })))
    const price = async (address: string) => (await json(`${address}/price`)).body.price
    // A cache that has just begun asks the source.
    await waitFor(async () => {
      await client.set('price', 1)
      await json(`${one}/price`, 'PUT', { price: 1 })
      if (await price(one!) !== 1) return false
      // Not by the cache's own way, so it cannot know.
      await client.set('price', 5)
      return await price(one!) === 1
    }, { what: 'a hit', timeoutMs: 30_000 })
    t.equal((await json(`${two}/price`, 'PUT', { price: 2 })).status, 200)
    t.equal(await price(two!), 2)
    // Before, the bus tells it a moment later; after, it is true at once.
    if (when === 'after') t.equal(await price(one!), 2)
    else await waitFor(async () => await price(one!) === 2, { what: 'the bus', timeoutMs: 20_000 })
  })

  t.test(`fastify-metrics, ${when}: the application's own count, and the requests of a route`, async (t) => {
    const { url } = await redisServer(t)
    const address = await serve(t, programs('fastify-metrics')[place]!, { REDIS_URL: url, METRICS_TOKEN: SECRET })
    for (let i = 0; i < 3; i++) await json(`${address}/order`, 'POST')
    const text = await (await fetch(`${address}/metrics`, { headers: { authorization: `Bearer ${SECRET}` } })).text()
    t.match(text, /^orders_total(?:\{[^}]*\})? 3$/m)
    const count = text.split('\n').find((line) => /^http_(?:server_)?request_duration_seconds_count\{/.test(line) && line.includes('route="/order"') && line.includes('200'))
    t.match(count, / 3$/)
  })

  if (when === 'after') {
    t.test('fastify-metrics, after: without a token nobody sees the metrics', async (t) => {
      const { url } = await redisServer(t)
      for (const token of [{}, { METRICS_TOKEN: '' }] as Array<Record<string, string>>) {
        const address = await serve(t, programs('fastify-metrics')[place]!, { REDIS_URL: url, ...token })
        for (const authorization of ['Bearer undefined', 'Bearer ', 'Bearer', 'Bearer null', '']) t.match(await fetch(`${address}/metrics`, { headers: { authorization } }), { ok: false }, `${JSON.stringify(token)}: ${authorization}`)
      }
    })
  }

  t.test(`mongo-cursor-pagination, ${when}: everybody once, forwards and backwards`, async (t) => {
    const { url, db } = await mongo(t)
    const names = ['Ada', 'Alan', 'Barbara', 'Edsger', 'Grace']
    await db.collection('people').insertMany(names.map((name, day) => ({ name, active: true, joined: new Date(Date.UTC(2020, 0, day + 1)) })))
    await db.collection<{ name: string, active: boolean }>('people').insertOne({ name: 'Nobody', active: false })
    // The package of before knows the driver of its time only.
    const code = programs('mongo-cursor-pagination')[place]!.replace("'mongodb'", place === 0 ? "'mongodb-6'" : "'mongodb'")
    const address = await serve(t, code, { MONGODB_URI: `${url.replace(/\/$/, '')}/${db.databaseName}` })
    const page = async (query: Record<string, string>) => (await json(`${address}/people?${String(new URLSearchParams({ limit: '2', ...query }))}`)).body as { names: string[], next: string | null, previous: string | null }
    const go = async (direction: 'next' | 'previous', cursor: string) => page(place === 0 ? { [direction]: cursor } : { cursor })
    const first = await page({})
    const second = await go('next', first.next!)
    const third = await go('next', second.next!)
    t.same([first.names, second.names, third.names, third.next], [names.slice(0, 2), names.slice(2, 4), names.slice(4), null])
    const back = await go('previous', third.previous!)
    t.same(back.names, names.slice(2, 4))
    t.same((await go('previous', back.previous!)).names, names.slice(0, 2))
  })
}
