import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { connect, type AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { unavailable } from '../src/errors.ts'
import { Browser, cookieOf, fieldsOf, Gates, makeApp, undisturbed, type Setup } from './support/app.ts'

// What ordinary handlers do: they do not return their reply, do not await, stream, hijack, throw.

type Handler = (request: FastifyRequest, reply: FastifyReply, app: FastifyInstance) => unknown

const later = () => new Promise((resolve) => setImmediate(resolve))

function both (name: string, run: (t: Test, setup: (more?: Setup) => Setup) => Promise<void>): void {
  t.test(`${name} (memory)`, (t) => run(t, (more = {}) => more))
  t.test(`${name} (Redis)`, (t) => {
    const siteId = uniqueName()
    return run(t, (more = {}) => ({ ...more, redis: { url: sharedRedis(), siteId } }))
  })
}

/** An application with these handlers at their names. */
async function serve (t: Test, handlers: Record<string, Handler>, setup: Setup = {}): Promise<FastifyInstance> {
  return makeApp(t, {
    ...setup,
    routes (app) {
      setup.routes?.(app)
      for (const [name, handler] of Object.entries(handlers)) {
        // One that is no async function must return nothing.
        const isAsync = handler.constructor.name === 'AsyncFunction'
        app.get(`/${name}`, isAsync ? async (request, reply) => handler(request, reply, app) : (request, reply) => { handler(request, reply, app) })
      }
    }
  })
}

const LOGINS: Record<string, Handler> = {
  'sends and does not return': async (request, reply, app) => {
    await app.sessions.login(request, 'u', { n: 1 })
    reply.code(201).header('x-mine', 'a').send({ ok: true })
  },
  'sends, and goes on before it ends': async (request, reply, app) => {
    await app.sessions.login(request, 'u', { n: 1 })
    reply.code(201).header('x-mine', 'a').send({ ok: true })
    await later()
  },
  'sends, and throws after it': async (request, reply, app) => {
    await app.sessions.login(request, 'u', { n: 1 })
    reply.code(201).header('x-mine', 'a').send({ ok: true })
    throw new Error('after the reply')
  },
  'does not await the login': async (request, reply, app) => {
    app.sessions.login(request, 'u')
    request.session.n = 1
    return reply.code(201).header('x-mine', 'a').send({ ok: true })
  },
  'does not await the login, and does not return': (request, reply, app) => {
    app.sessions.login(request, 'u', { n: 1 })
    reply.code(201).header('x-mine', 'a').send({ ok: true })
  },
  'sends in a callback of save': (request, reply, app) => {
    app.sessions.login(request, 'u', { n: 1 })
    request.session.save(() => reply.code(201).header('x-mine', 'a').send({ ok: true }))
  },
  'logs in twice at once': async (request, reply, app) => {
    app.sessions.login(request, 'another')
    app.sessions.login(request, 'u', { n: 1 })
    reply.code(201).header('x-mine', 'a').send({ ok: true })
  },
  'logs in, saves and regenerates at once': async (request, reply, app) => {
    app.sessions.login(request, 'u', { n: 1, m: 2 })
    request.session.save()
    request.session.regenerate(['n'])
    request.session.save()
    reply.code(201).header('x-mine', 'a').send({ ok: true })
  }
}

both('a handler that logs in and ends in an ordinary way has its reply sent, the visitor logged in, and no other session made', async (t, setup) => {
  const app = await serve(t, Object.fromEntries(Object.entries(LOGINS).map(([name, handler]) => [name.replaceAll(' ', '-'), handler])), setup())
  for (const name of Object.keys(LOGINS)) {
    for (const known of [false, true]) {
      const browser = new Browser(app)
      if (known) await browser.post('/set', { cart: 1 })
      const response = await browser.get(`/${name.replaceAll(' ', '-')}`)
      t.same([response.statusCode, response.body, response.headers['x-mine']], [201, '{"ok":true}', 'a'], name)
      t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
      t.match((await browser.get('/me')).json(), { userId: 'u', fields: { n: 1 } }, name)
      t.equal((await app.sessions.list('u')).length, 1, name)
      t.same(await app.sessions.list('another'), [])
      await app.sessions.logoutAll('u')
      t.equal(await app.sessions.count(), 0, 'no orphan')
    }
  }
})

both('save that is not awaited, twice, or with a callback, stores what was written, and the reply is the handler\'s', async (t, setup) => {
  const app = await serve(t, {
    one: async ({ session }) => { session.a = 1; session.save(() => {}); return 'x' },
    two: async ({ session }) => { session.b = 1; session.save(); session.c = 1; session.save(); return 'x' },
    both: async ({ session }) => { session.d = 1; await Promise.all([session.save(), session.save()]); return 'x' },
    sent: (request, reply) => { request.session.e = 1; request.session.save(() => {}); reply.send('x') }
  }, setup())
  const browser = new Browser(app)
  for (const name of ['one', 'two', 'both', 'sent']) {
    const response = await browser.get(`/${name}`)
    t.same([response.statusCode, response.body], [200, 'x'], name)
  }
  t.same((await browser.get('/me')).json().fields, { a: 1, b: 1, c: 1, d: 1, e: 1 })
  t.equal(await app.sessions.count(), 1)
})

both('what others wrote between two saves of one request stays', async (t, setup) => {
  const other: { write: () => Promise<unknown> } = { write: async () => {} }
  const app = await serve(t, {
    twice: async ({ session }) => {
      await other.write()
      session.a = 1
      await session.save()
      session.c = 3
      return 'x'
    }
  }, setup())
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u', z: 0 })
  other.write = () => browser.post('/set', { b: 2 })
  t.equal((await browser.get('/twice')).statusCode, 200)
  t.same((await browser.get('/me')).json().fields, { z: 0, b: 2, a: 1, c: 3 })
})

both('the operations of a session run in the order in which they were called', async (t, setup) => {
  const app = await serve(t, {
    'out-and-in': async (request, _reply, app) => {
      app.sessions.logout(request)
      app.sessions.login(request, 'v', { n: 3 })
      return 'x'
    },
    'in-and-out': async (request, _reply, app) => {
      app.sessions.login(request, 'v')
      app.sessions.logout(request)
      return 'x'
    },
    destroy: async ({ session }) => {
      session.n = 1
      session.save()
      session.destroy()
      return 'x'
    },
    regenerate: async (request) => {
      request.session.regenerate(['n'])
      request.session.m = 5
      return 'x'
    }
  }, setup())
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u', n: 1 })
  await browser.get('/regenerate')
  t.match((await browser.get('/me')).json(), { userId: 'u', fields: { n: 1, m: 5 } })
  await browser.get('/out-and-in')
  t.match((await browser.get('/me')).json(), { userId: 'v', fields: { n: 3 } })
  await browser.get('/in-and-out')
  t.same((await browser.get('/me')).json(), { fields: {} })
  t.equal(browser.cookies.size, 0)
  await browser.get('/destroy')
  t.equal(await app.sessions.count(), 0)
})

t.test('set gives a session no fields that it does not have', async (t) => {
  const app = await serve(t, {
    grant: async ({ session }) => {
      session.set('__proto__' as never, { isAdmin: true } as never)
      return { isAdmin: (session as unknown as { isAdmin?: boolean }).isAdmin ?? false }
    }
  })
  const response = await app.inject('/grant')
  t.match([response.statusCode, response.json()], [400, { code: 'FST_ERR_REDIS_SESSIONS_RESERVED_FIELD' }])
})

t.test('an operation that fails and that nobody awaits fails the request, and ends no process', async (t) => {
  const app = await serve(t, {
    save: async ({ session }) => { session.big = 'x'.repeat(200); session.save(); delete session.big; return 'x' },
    login: async (request, reply, app) => { app.sessions.login(request, 'u', { save: 1 } as object); reply.send('x') },
    caught: async (request, reply, app) => { await app.sessions.login(request, '').catch(() => {}); return 'mine' },
    told: async (request, reply, app) => { app.sessions.login(request, ''); return reply.code(422).send('mine') }
  }, { sessions: { maxBytes: 100 } })
  t.equal((await app.inject('/save')).statusCode, 413)
  t.equal((await app.inject('/login')).json().code, 'FST_ERR_REDIS_SESSIONS_RESERVED_FIELD')
  t.equal((await app.inject('/caught')).body, 'mine')
  t.equal((await app.inject('/told')).statusCode, 422)
  t.equal(await app.sessions.count(), 0)
})

both('a read is what the handler sent, at every request', async (t, setup) => {
  const app = await serve(t, {
    read: async ({ session }, reply) => { reply.send(String(session.n)) },
    stream: async (_request, reply) => { reply.send(Readable.from(['a', 'b'])) }
  }, setup({ sessions: { touchIntervalMs: 0 } }))
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u', n: 7 })
  for (let index = 0; index < 5; index++) {
    t.equal((await browser.get('/read')).body, '7')
    const stream = await browser.get('/stream')
    t.equal(stream.body, 'ab')
    t.ok(stream.headers['set-cookie'])
  }
})

both('what is written while a reply streams, or where the reply was hijacked, is stored in the session that lives', async (t, setup) => {
  const gates = new Gates()
  const app = await serve(t, {
    stream: async ({ session }) => Readable.from((async function * () {
      yield 'a'
      session.streamed = 1
      yield 'b'
    })()),
    hijack: async ({ session }, reply) => {
      reply.hijack()
      session.hijacked = 1
      reply.raw.end('raw')
    },
    late: async ({ session }) => Readable.from((async function * () {
      yield 'a'
      await gates.pass('late')
      session.late = 1
      yield 'b'
    })())
  }, setup())
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u' })
  t.equal((await browser.get('/stream')).body, 'ab')
  t.equal((await browser.get('/hijack')).body, 'raw')
  await waitFor(async () => {
    const { fields } = (await browser.get('/me')).json()
    return fields.streamed === 1 && fields.hijacked === 1
  })
  const late = browser.get('/late')
  await gates.arrived('late')
  await app.sessions.logoutAll('u')
  gates.open('late')
  await late
  await waitFor(async () => await app.sessions.count() === 0)
  t.notOk((await browser.get('/me')).json().userId, 'a stream that ends after the logout brings nothing back')
})

t.test('a login after the reply was sent is a typed error and makes no session, since no cookie can tell of it', async (t) => {
  let failed: { code?: string } = {}
  const app = await serve(t, {
    late: async (request, reply, app) => {
      reply.send('x')
      await app.sessions.login(request, 'u').catch((err) => { failed = err })
    }
  })
  t.equal((await app.inject('/late')).body, 'x')
  await waitFor(() => failed.code !== undefined)
  t.equal(failed.code, 'FST_ERR_REDIS_SESSIONS_REPLY_SENT')
  t.equal(await app.sessions.count(), 0)
})

t.test('a login or regenerate after a reply that was taken over has begun is refused, and leaves the session as it is', async (t) => {
  const begun = async (reply: FastifyReply, then: () => Promise<void> | void) => {
    reply.hijack()
    reply.raw.write('x')
    reply.raw.end(await Promise.resolve(then()).then(() => 'done', (err) => err.code as string))
  }
  const handlers = {
    login: async (request: FastifyRequest, reply: FastifyReply, app: FastifyInstance) => begun(reply, async () => app.sessions.login(request, 'v')),
    regenerate: async ({ session }: FastifyRequest, reply: FastifyReply) => begun(reply, () => session.regenerate(['n']))
  }
  const app = await serve(t, handlers)
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u', n: 1 })
  for (const url of ['/login', '/regenerate']) t.equal((await browser.get(url)).body, 'xFST_ERR_REDIS_SESSIONS_REPLY_SENT')
  t.match((await browser.get('/me')).json(), { userId: 'u', fields: { n: 1 } })
  t.equal(await app.sessions.count(), 1)
  const api = await serve(t, handlers, { sessions: { header: 'authorization' } })
  t.equal((await api.inject('/login')).body, 'xdone', 'a token needs no header of the reply')
})

both('each request of many that run at once has the session of its own cookie', async (t, setup) => {
  const app = await serve(t, {
    mix: async (request, reply, app) => {
      const before = app.sessions.current(request)?.userId
      await later()
      request.session.regenerate(['user'])
      request.session.seen = before
      await later()
      request.session.save(() => reply.send({ before, after: request.session.user }))
      return reply
    }
  }, setup())
  const browsers = await Promise.all(Array.from({ length: 30 }, async (_, index) => {
    const browser = new Browser(app)
    await browser.post('/login', { user: `u${index}` })
    await browser.post('/set', { user: `u${index}` })
    return browser
  }))
  for (let round = 0; round < 3; round++) {
    const answers = await Promise.all(browsers.map(async (browser) => (await browser.get('/mix')).json()))
    t.same(answers, browsers.map((_, index) => ({ before: `u${index}`, after: `u${index}` })))
  }
  const fields = await Promise.all(browsers.map(async (browser) => fieldsOf((await browser.get('/me')).json().fields)))
  t.same(fields, browsers.map((_, index) => ({ user: `u${index}`, seen: `u${index}` })))
})

t.test('a request that comes before the idle timeout and ends after it keeps its session, and its write', async (t) => {
  const idleTimeoutMs = 2000
  // Noted as seen when it comes; or while it runs, because it was seen just before it came.
  const trials = [[{}, 1200, 50], [{ url: sharedRedis() }, 1200, 50], [{}, 500, 999], [{ url: sharedRedis() }, 500, 999]] as const
  await Promise.all(trials.map(async ([redis, waitMs, touchIntervalMs]) => {
    const app = await serve(t, {
      slow: async ({ session }) => {
        await sleep(idleTimeoutMs)
        session.n = 1
        return 'x'
      }
    }, { redis, sessions: { idleTimeoutMs, touchIntervalMs } })
    const [slow, me] = await undisturbed(idleTimeoutMs / 5, async () => {
      const browser = new Browser(app)
      await browser.post('/login', { user: 'u' })
      // The browser of the test would drop it by the clock while the request runs.
      const headers = { cookie: browser.header() }
      await sleep(waitMs)
      return [await app.inject({ url: '/slow', headers }), await app.inject({ url: '/me', headers })]
    })
    t.equal(slow.statusCode, 200)
    t.match(me.json(), { userId: 'u', fields: { n: 1 } }, `${waitMs} ms`)
  }))
})

t.test('a session that a request makes does not time out before its reply', async (t) => {
  const idleTimeoutMs = 1500
  const made = {
    login: async (request: FastifyRequest) => { await request.server.sessions.login(request, 'u') },
    own: async (request: FastifyRequest) => { await request.server.sessions.login(request, 'u', {}, { idleTimeoutMs }) },
    saved: async ({ session }: FastifyRequest) => {
      session.user = 'u'
      await session.save()
    },
    again: async (request: FastifyRequest) => {
      await request.server.sessions.login(request, 'u')
      await request.session.regenerate()
    }
  }
  await Promise.all(Object.entries(made).map(async ([name, make], index) => {
    const app = await serve(t, {
      slow: async (request) => {
        await make(request)
        await sleep(2 * idleTimeoutMs)
        return 'x'
      }
    }, { redis: index % 2 === 0 ? {} : { url: sharedRedis() }, sessions: { idleTimeoutMs: name === 'own' ? 3600_000 : idleTimeoutMs } })
    const { userId, fields } = await undisturbed(idleTimeoutMs / 5, async () => {
      const { headers } = await app.inject('/slow')
      const cookie = String(headers['set-cookie']).split(';')[0]!
      return (await app.inject({ url: '/me', headers: { cookie } })).json()
    })
    t.equal(userId ?? fields.user, 'u', name)
  }))
})

both('a request that was sent before a login or regenerate, and comes after it, takes the new cookie from nobody', async (t, setup) => {
  const handlers: Record<string, Handler> = {
    count: async ({ session }) => {
      session.n = Number(session.n ?? 0) + 1
      return 'x'
    },
    saves: async ({ session }) => {
      session.n = 1
      await session.save()
      return 'x'
    },
    again: async ({ session }) => {
      await session.regenerate()
      return 'x'
    }
  }
  const more = setup()
  const app = await serve(t, handlers, more)
  // Without Redis each process has sessions of its own.
  const another = more.redis === undefined ? app : await serve(t, handlers, more)
  const browser = new Browser(app)
  await browser.get('/count')
  for (const replace of ['/login', '/again', '/login']) {
    const headers = { cookie: browser.header() }
    await (replace === '/login' ? browser.post(replace, { user: 'u' }) : browser.get(replace))
    for (const each of [app, another]) {
      for (const url of ['/count', '/saves']) {
        const late = await each.inject({ url, headers })
        t.equal(late.statusCode, 200)
        t.notOk(late.headers['set-cookie'], `${url} after ${replace}`)
      }
    }
    t.equal((await browser.get('/me', another)).json().userId, 'u')
  }
  const headers = { cookie: browser.header() }
  await browser.post('/logout')
  t.ok((await another.inject({ url: '/count', headers })).headers['set-cookie'], 'who logged out is a visitor like others')
  t.ok((await app.inject({ method: 'POST', url: '/login', payload: { user: 'u' }, headers })).headers['set-cookie'])
})

both('who sets request.session to null ends the session', async (t, setup) => {
  const app = await serve(t, { out: async (request) => { request.session = null as never; return 'out' } }, setup())
  const ended: string[] = []
  app.sessions.on('ended', ({ reason }) => { ended.push(reason) })
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u' })
  const headers = { cookie: browser.header() }
  t.equal((await browser.get('/out')).body, 'out')
  t.equal(browser.cookies.size, 0)
  t.notOk((await app.inject({ url: '/me', headers })).json().userId)
  t.same(ended, ['destroy'])
  t.equal((await app.inject('/out')).statusCode, 200)
})

t.test('what is written to an object that is not the session any more is warned of', async (t) => {
  const lines: string[] = []
  const app = await serve(t, {
    replaced: async (request) => { request.session = { user: 1 } as never; return 'x' },
    left: async (request, _reply, app) => {
      const { session } = request
      await app.sessions.login(request, 'u')
      session.cart = 1
      return 'x'
    },
    fine: async (request, _reply, app) => {
      request.session.big = 10n
      await app.sessions.login(request, 'u', { n: 1 })
      request.session.cart = 1
      return 'x'
    }
  }, { fastify: { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } } })
  for (const [path, text] of [['replaced', /replaced by an object.*nothing is stored/], ['left', /before login or regenerate.*not stored/]] as const) {
    t.equal((await app.inject(`/${path}`)).statusCode, 200)
    t.equal(lines.filter((line) => text.test(line)).length, 1, path)
  }
  lines.length = 0
  t.equal((await app.inject('/fine')).statusCode, 200)
  t.same(lines, [])
})

t.test('what streams for long, also in a reply that was taken over, keeps no session alive', async (t) => {
  const app = await serve(t, {
    events: (_request, reply) => {
      reply.hijack()
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
      reply.raw.write('data: 1\n\n')
    },
    stream: async () => Readable.from((async function * () {
      yield 'a'
      await gate
    })())
  }, { sessions: { idleTimeoutMs: 1000, touchIntervalMs: 0 }, fastify: { forceCloseConnections: true } })
  let end = () => {}
  const gate = new Promise<void>((resolve) => { end = resolve })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  for (const path of ['events', 'stream']) {
    const browser = new Browser(app)
    await browser.post('/login', { user: path })
    const response = await fetch(`${address}/${path}`, { headers: { cookie: browser.header() } })
    await waitFor(async () => (await app.sessions.list(path)).length === 0, { what: `the idle timeout of who only has ${path}`, timeoutMs: 10_000, everyMs: 100 })
    end()
    await response.body!.cancel()
  }
})

/** Logins that work, in requests that fail after them. */
const FAILING: Record<string, [status: number, handler: Handler]> = {
  throws: [500, async (request, _reply, app) => {
    await app.sessions.login(request, 'u')
    throw new Error('after the login')
  }],
  'too-large': [413, async (request, _reply, app) => {
    await app.sessions.login(request, 'u')
    request.session.big = 'x'.repeat(200)
    return 'x'
  }],
  'unawaited-save': [413, async (request, _reply, app) => {
    await app.sessions.login(request, 'u')
    request.session.big = 'x'.repeat(200)
    request.session.save()
    delete request.session.big
    return 'x'
  }],
  'too-large-after-regenerate': [413, async (request, _reply, app) => {
    await app.sessions.login(request, 'u')
    await request.session.regenerate()
    request.session.big = 'x'.repeat(200)
    return 'x'
  }],
  stream: [500, async (request, reply, app) => {
    await app.sessions.login(request, 'u')
    return reply.send(new Readable({ read () { this.destroy(new Error('no content')) } }))
  }],
  hook: [500, async (request, reply, app) => {
    await app.sessions.login(request, 'u')
    return reply.header('x-fails', '1').send('x')
  }]
}

both('a login before an error is a login: the reply that tells of the error carries its cookie, and there is no other session', async (t, setup) => {
  const handlers = Object.fromEntries(Object.entries(FAILING).map(([name, [, handler]]) => [name, handler]))
  const app = await serve(t, handlers, setup({
    sessions: { maxBytes: 100 },
    routes (app) {
      app.addHook('onSend', async (_request, reply) => { if (reply.getHeader('x-fails') !== undefined) { reply.removeHeader('x-fails'); throw new Error('in a hook') } })
      app.get('/invalid', { schema: { response: { 200: { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] } } } }, async (request) => {
        await app.sessions.login(request, 'u')
        return { m: 1 }
      })
    }
  }))
  for (const [name, status] of [...Object.entries(FAILING).map(([name, [status]]) => [name, status] as const), ['invalid', 500] as const]) {
    for (const known of [false, true]) {
      const browser = new Browser(app)
      if (known) await browser.post('/login', { user: 'before' })
      t.equal((await browser.get(`/${name}`)).statusCode, status, name)
      t.equal((await browser.get('/me')).json().userId, 'u', `${name}: the browser is logged in`)
      t.equal(await app.sessions.count(), 1, `${name}: no orphan`)
      await app.sessions.logoutAll('u')
    }
  }
})

both('a login whose client left before the reply began leaves no session behind', async (t, setup) => {
  const gates = new Gates()
  const app = await serve(t, {
    login: async (request, _reply, app) => {
      await gates.pass('in')
      await app.sessions.login(request, 'u')
      return 'in'
    },
    write: async ({ session }) => {
      await gates.pass('in')
      session.n = 1
      return 'x'
    }
  }, setup())
  const ended: string[] = []
  app.sessions.on('ended', ({ reason }) => { ended.push(reason) })
  const [known, again] = [new Browser(app), new Browser(app)]
  await known.post('/login', { user: 'k' })
  await again.post('/set', { n: 1 })
  await app.listen({ port: 0, host: '127.0.0.1' })
  let gone = 0
  app.server.on('connection', (socket) => socket.on('close', () => { gone++ }))
  const requests = [['login', ''], ['login', `cookie: ${again.header()}\r\n`], ['write', ''], ['write', `cookie: ${known.header()}\r\n`]]
  const sockets = requests.map(([path, header]) => connect((app.server.address() as AddressInfo).port, '127.0.0.1').end(`GET /${path} HTTP/1.1\r\nhost: x\r\n${header}\r\n`))
  await gates.arrived('in', sockets.length)
  for (const socket of sockets) socket.resetAndDestroy()
  await waitFor(() => gone === sockets.length)
  gates.open('in')
  await waitFor(async () => (await known.get('/me')).json().fields.n === 1, { what: 'the write of a session that the client has' })
  await waitFor(async () => await app.sessions.count() === 1, { what: 'the end of the others' })
  await waitFor(() => ended.length === 2)
  t.same(ended, ['aborted', 'aborted'])
  // The old cookie is the one that the browser has.
  await waitFor(async () => (await app.inject({ method: 'POST', url: '/set', payload: { n: 2 }, headers: { cookie: again.header() } })).headers['set-cookie'] !== undefined, { what: 'a new session' })
})

both('where another session did not take the place of one after all, what the browser sends with the cookie of before is not late', async (t, setup) => {
  const replaced: Record<string, (app: FastifyInstance, request: FastifyRequest) => Promise<unknown>> = {
    'a login that failed': async (app, request) => {
      const { create } = app.sessions.store
      app.sessions.store.create = async () => {
        app.sessions.store.create = create
        throw new Error('refused')
      }
      await app.sessions.login(request, 'u')
    },
    'a regenerate in whose middle the user was logged out everywhere': async (app, { session }) => {
      const { remove } = app.sessions.store
      app.sessions.store.remove = async (ref) => {
        app.sessions.store.remove = remove
        const removed = await app.sessions.store.remove(ref)
        await app.sessions.logoutAll('u')
        return removed
      }
      await session.regenerate()
    }
  }
  for (const [name, replace] of Object.entries(replaced)) {
    const app = await serve(t, { replace: async (request, _reply, app) => replace(app, request).then(() => 'x') }, setup())
    const browser = new Browser(app)
    await browser.post('/login', { user: 'u' })
    const headers = { cookie: browser.header() }
    await app.inject({ url: '/replace', headers })
    t.notOk((await app.inject({ url: '/me', headers })).json().userId, name)
    const { headers: { 'set-cookie': made } } = await app.inject({ method: 'POST', url: '/set', payload: { n: 1 }, headers })
    t.ok(made, `${name}: a session of its own`)
    t.equal((await app.inject({ url: '/me', headers: { cookie: String(made).split(';')[0]! } })).json().fields.n, 1)
  }
})

both('a new session whose making was not answered leaves nothing behind', async (t, setup) => {
  const app = await serve(t, {
    login: async (request, _reply, app) => { await app.sessions.login(request, 'u') },
    set: async ({ session }) => { session.n = 1 },
    again: async ({ session }) => session.regenerate().then(() => 'x')
  }, setup())
  const { create } = app.sessions.store
  for (const path of ['/login', '/set', '/again']) {
    const browser = new Browser(app)
    if (path === '/again') await browser.post('/login', { user: 'u' })
    let made: unknown = null
    app.sessions.store.create = async (...args) => {
      app.sessions.store.create = create
      made = await app.sessions.store.create(...args)
      throw unavailable(new Error('the answer was lost'))
    }
    t.equal((await browser.get(path)).statusCode, 503, path)
    t.ok(made)
    t.equal(await app.sessions.count(), 0, `${path}: no orphan`)
    t.same(await app.sessions.list('u'), [])
  }
})

both('a new session whose cookie cannot be made ends: nobody could use it', async (t, setup) => {
  const app = await serve(t, {
    login: async (request, _reply, app) => {
      await app.sessions.login(request, 'u')
      cookieOf(request.session).expires = new Date(NaN)
      return 'x'
    },
    set: async ({ session }) => {
      session.n = 1
      Object.assign(cookieOf(session), { domain: 'a b' })
      return 'x'
    },
    hijack: async (request, reply, app) => {
      reply.hijack()
      await app.sessions.login(request, 'u')
      cookieOf(request.session).expires = new Date(NaN)
      reply.raw.writeHead(200).end('x')
    }
  }, setup())
  const ended: string[] = []
  app.sessions.on('ended', ({ reason }) => { ended.push(reason) })
  for (const path of ['/login', '/set']) {
    const response = await app.inject(path)
    t.equal(response.json().code, 'FST_ERR_REDIS_SESSIONS_INVALID_COOKIE')
    t.notOk(response.headers['set-cookie'])
    t.equal(await app.sessions.count(), 0, path)
  }
  t.same(ended, ['aborted'])
  await app.listen({ port: 0, host: '127.0.0.1' })
  const hijacked = await fetch(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}/hijack`)
  t.same([hijacked.status, hijacked.headers.get('set-cookie')], [200, null])
  await waitFor(async () => await app.sessions.count() === 0 && ended.length === 2, { what: 'the end of the session of a hijacked reply' })
})

both('a reply that was taken over carries the cookie of what became of the session, beside those of the application', async (t, setup) => {
  const end: Record<string, (reply: FastifyReply) => unknown> = {
    end: ({ raw }) => raw.end('x'),
    head: ({ raw }) => raw.writeHead(200, { 'set-cookie': 'theme=dark', 'cache-control': 'public' }).end('x'),
    header: ({ raw }) => { raw.setHeader('Set-Cookie', ['theme=dark', 'lang=en']); raw.write('x'); raw.end() }
  }
  const handlers = Object.fromEntries(Object.entries(end).flatMap(([name, finish]): Array<[string, Handler]> => [
    [`in-${name}`, async (request, reply, app) => {
      reply.hijack()
      await app.sessions.login(request, 'u')
      finish(reply)
    }],
    [`save-${name}`, async ({ session }, reply) => {
      session.n = 1
      await session.save()
      reply.hijack()
      finish(reply)
    }],
    [`out-${name}`, async (request, reply, app) => {
      reply.hijack()
      await app.sessions.logout(request)
      finish(reply)
    }]
  ]))
  const app = await serve(t, handlers, setup())
  for (const name of Object.keys(end)) {
    const browser = new Browser(app)
    for (const [path, me] of [['save', { fields: { n: 1 } }], ['in', { userId: 'u' }], ['out', { fields: {} }]] as const) {
      const response = await browser.get(`/${path}-${name}`)
      t.equal(response.body, 'x')
      if (name !== 'end') t.ok([response.headers['set-cookie']].flat().includes('theme=dark'), 'the application\'s cookie stays')
      t.match(String(response.headers['cache-control']), /^private/)
      t.match((await browser.get('/me')).json(), me, `${path}-${name}`)
    }
    t.notOk(browser.cookies.has('sessionId'))
  }
  t.equal(await app.sessions.count(), 0)
})

t.test('a login whose hijacked reply began before it was made ends, with a warning that names the cure', async (t) => {
  const lines: string[] = []
  const app = await serve(t, {
    late: (request, reply, app) => {
      reply.hijack()
      app.sessions.login(request, 'u')
      reply.raw.end('x')
    }
  }, { fastify: { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } } })
  t.equal((await app.inject('/late')).body, 'x')
  await waitFor(() => lines.length > 0)
  t.match(lines, [/hijacked.*await login/])
  t.equal(await app.sessions.count(), 0)
})
