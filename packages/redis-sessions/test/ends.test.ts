import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { sharedRedis, waitFor } from '../../../test/helpers/index.ts'
import { Browser, Gates, makeApp, type Setup } from './support/app.ts'

// Replies that stream or were taken over, and whose end is not theirs to choose: the client leaves, the session is ended in them.

const SETUPS: Record<string, Setup> = {
  memory: {},
  Redis: { redis: { url: sharedRedis() }, sessions: { localReads: false } },
  copies: { redis: { url: sharedRedis() }, sessions: { localReads: true } }
}

async function serve (t: Test, setup: Setup, routes: (app: FastifyInstance) => void): Promise<FastifyInstance> {
  const app = await makeApp(t, { ...setup, routes })
  if (setup.sessions?.localReads === true) await waitFor(() => app.configCache.mode === 'coherent', { what: 'a lease', timeoutMs: 30_000 })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app
}

async function login (app: FastifyInstance): Promise<Browser> {
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u' })
  await browser.get('/me')
  return browser
}

function ask (app: FastifyInstance, browser: Browser, path: string): Socket {
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: site\r\n${browser.header() === '' ? '' : `Cookie: ${browser.header()}\r\n`}\r\n`)
  return socket
}

/** A client that leaves when the reply has begun. */
async function leave (socket: Socket): Promise<void> {
  await once(socket, 'data')
  socket.destroy()
}

for (const [kind, setup] of Object.entries(SETUPS)) {
  t.test(`what is written while a reply streams is stored when its client leaves (${kind})`, async (t) => {
    const gates = new Gates()
    const app = await serve(t, setup, (app) => {
      app.get('/stream', (request, reply) => {
        async function * lines () {
          yield 'begun'
          request.session.streamed = true
          await gates.pass('never')
        }
        reply.send(Readable.from(lines()))
      })
      app.get('/events', (request, reply) => {
        request.session.before = true
        reply.hijack()
        reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
        reply.raw.write('data: begun\n\n')
        request.session.taken = true
        reply.raw.on('close', () => { request.session.left = true })
      })
      app.get('/quiet', (request, reply) => {
        reply.hijack()
        reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
        reply.raw.write('data: begun\n\n')
        reply.raw.on('close', () => { request.session.last = true })
      })
    })
    t.teardown(() => { gates.open('never') })
    const browser = await login(app)
    const socket = ask(app, browser, '/stream')
    await gates.arrived('never')
    socket.destroy()
    await waitFor(async () => (await browser.get('/me')).json().fields.streamed, { what: 'what was streamed' })
    await leave(ask(app, browser, '/events'))
    const { fields } = await waitFor(async () => (await browser.get('/me')).json().fields.left !== undefined && (await browser.get('/me')).json(), { what: 'what was written at the end' })
    t.same(fields, { streamed: true, before: true, taken: true, left: true })
    await leave(ask(app, browser, '/quiet'))
    await waitFor(async () => (await browser.get('/me')).json().fields.last, { what: 'what was written by who looked only then' })
  })

  t.test(`a session that is set to null while a reply streams has ended (${kind})`, async (t) => {
    const app = await serve(t, setup, (app) => {
      app.get('/stream', (request, reply) => {
        async function * lines () {
          yield 'x'
          request.session = null as never
          yield 'y'
        }
        reply.send(Readable.from(lines()))
      })
      app.get('/taken', (request, reply) => {
        reply.hijack()
        request.session = null as never
        reply.raw.end('x')
      })
    })
    for (const path of ['/stream', '/taken']) {
      const browser = await login(app)
      await browser.get(path)
      await waitFor(async () => (await browser.get('/me')).json().userId === undefined, { what: `the end by ${path}` })
      t.same(await app.sessions.list('u'), [], path)
    }
  })

  t.test(`a login in a reply that was taken over ends where the client leaves before its head (${kind})`, async (t) => {
    const gates = new Gates()
    const ended: string[] = []
    const app = await serve(t, setup, (app) => {
      app.sessions.on('ended', ({ reason }) => { ended.push(reason) })
      app.get('/taken', async (request, reply) => {
        reply.hijack()
        await app.sessions.login(request, 'u')
        await gates.pass('taken')
      })
    })
    t.teardown(() => { gates.open('taken') })
    const socket = ask(app, new Browser(app), '/taken')
    await gates.arrived('taken')
    t.equal((await app.sessions.list('u')).length, 1)
    socket.destroy()
    await waitFor(async () => (await app.sessions.list('u')).length === 0, { what: 'the session that nobody can use to end' })
    t.same(ended, ['aborted'])
  })

  t.test(`a handler whose client left goes on as it began, and stores what it did in one piece (${kind})`, async (t) => {
    const gates = new Gates()
    const app = await serve(t, setup, (app) => {
      app.get('/steps', async (request, reply) => {
        request.session.first = true
        reply.raw.on('close', () => setImmediate(() => setImmediate(() => gates.open('closed'))))
        await gates.pass('closed')
        await gates.pass('steps')
        request.session.second = request.session.first
        return 'done'
      })
    })
    const browser = await login(app)
    const socket = ask(app, browser, '/steps')
    await gates.arrived('closed')
    socket.destroy()
    await gates.arrived('steps')
    t.same((await browser.get('/me')).json().fields, {}, 'half of it is not stored')
    gates.open('steps')
    await waitFor(async () => (await browser.get('/me')).json().fields.second, { what: 'all of it' })
  })
  t.test(`what is written after the end of a reply is stored by save (${kind})`, async (t) => {
    let saved: Promise<unknown> | undefined
    const app = await serve(t, setup, (app) => {
      app.get('/after', {
        onResponse: async (request) => {
          request.session.after = true
          saved = request.session.save()
        }
      }, async () => 'x')
    })
    const browser = await login(app)
    await browser.get('/after')
    await waitFor(() => saved !== undefined, { what: 'the hook' })
    await saved
    t.same((await browser.get('/me')).json().fields, { after: true })
  })
}
