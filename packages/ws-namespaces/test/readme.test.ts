import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import t from 'tap'
import { sharedRedis, uniqueName, type Scope } from '../../../test/helpers/index.ts'
import { build } from './support/build.ts'

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

/** Runs a program with what it imports as this package sees it; what it printed. */
async function run (t: Scope, program: string, ...args: string[]): Promise<string> {
  const file = fileURLToPath(new URL(`../${uniqueName('readme')}.mjs`, import.meta.url))
  t.teardown(() => rm(file, { force: true }))
  await writeFile(file, (await transform(program, { loader: 'ts', target: 'es2023' })).code)
  return (await promisify(execFile)(process.execPath, [file, ...args], { env: { PATH: process.env.PATH }, timeout: 60_000 })).stdout
}

t.test('the first example of the client runs as in a page', async (t) => {
  const { port } = await build(t, {
    setup: ({ wsNamespaces }) => {
      const chat = wsNamespaces.create('chat', {
        public: true,
        onMessage: async (conn, { type, data }) => {
          if (type === 'say') await chat.broadcast('said', data, { from: conn })
          else return 7
        }
      })
    }
  })
  const readme = await readFile(new URL('../../ws-client/README.md', import.meta.url), 'utf8')
  const example = /```js\n(.*?)```/s.exec(readme)![1]!.replace("import { connect } from '@jpulse/ws-client'", "const { connect } = await import('@jpulse/ws-client')")
  const output = await run(t, `
import { WebSocket } from 'ws'
globalThis.WebSocket ??= WebSocket
globalThis.location = { href: 'http://127.0.0.1:${port}/page' }
const loadEverything = () => console.log('loaded')
${example}
console.log('answer', answer)
chat.close()
`)
  t.same(output.trim().split('\n').sort(), ['answer 7', 'connected', 'disconnected', 'loaded', 'null hello'])
})

t.test('the first example of writing a namespace runs', async (t) => {
  const docs = await readFile(new URL('../docs/namespaces.md', import.meta.url), 'utf8')
  const output = await run(t, `
import Fastify from 'fastify'
import { redisLink } from '@jpulse/redis-link'
import { clusterBroadcast } from '@jpulse/cluster-broadcast'
import { redisSessions } from '@jpulse/redis-sessions'
import { wsNamespaces } from '@jpulse/ws-namespaces'
import { connect } from '@jpulse/ws-client'
import { WebSocket } from 'ws'
const app = Fastify()
app.register(redisLink)
app.register(clusterBroadcast)
app.register(redisSessions, { secret: 'a secret of at least thirty-two characters' })
app.register(wsNamespaces)
app.get('/login', async (request) => app.sessions.login(request, 'ann').then(() => 'in'))
await app.ready()
const mayEnter = async (userId, id) => id === '7'
const nameOf = async (userId) => 'Ann'
${/```ts\n(.*?)```/s.exec(docs)![1]!}
const url = await app.listen({ port: 0, host: '127.0.0.1' })
const cookie = (await app.inject('/login')).headers['set-cookie']
class AsAnn extends WebSocket { constructor (url) { super(url, { headers: { cookie: [cookie].flat().map((one) => one.split(';')[0]).join('; ') } }) } }
const room = connect(url + '/api/1/ws/rooms/7', { WebSocket: AsAnn })
const said = new Promise((resolve) => room.on('said', (data, { ctx }) => resolve([data, ctx.name])))
console.log(JSON.stringify([await room.request('say', 'hello'), await said]))
room.close()
const closed = connect(url + '/api/1/ws/rooms/8', { WebSocket: AsAnn })
console.log(await closed.ready.catch((err) => err.code), closed.status)
await app.close()
`)
  t.equal(output, '["ok",["hello","Ann"]]\nNOT_CONNECTED auth-required\n')
})
