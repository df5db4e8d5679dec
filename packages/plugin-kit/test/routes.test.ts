import { createError } from '@fastify/error'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t from 'tap'
import { Type, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { Value } from 'typebox/value'
import { answers, guard, isAuthorized, ok, prepareScope, tellOf, type Authorize } from '../src/index.ts'

const PLUGIN = 'FST_ERR_SAMPLE'
const refusals = {
  Unauthorized: createError('FST_ERR_SAMPLE_UNAUTHORIZED', 'Please log in', 401),
  Forbidden: createError('FST_ERR_SAMPLE_FORBIDDEN', 'You may not use this', 403)
}

const Wildcard = Type.Object({ '*': Type.String() })
const Query = Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 9 })), all: Type.Optional(Type.Boolean()) })
const Body = Type.Object({ data: Type.Unknown() }, { additionalProperties: false })
const Answer = Type.Object({ name: Type.String(), limit: Type.Union([Type.Integer(), Type.Null()]), data: Type.Unknown(), any: Type.Record(Type.String(), Type.Unknown()), at: Type.String() })

interface Shape { Params: { '*': string }, Querystring: { limit?: number }, Body: { data: unknown } }

async function sample (app: FastifyInstance, authorize: Authorize = () => true): Promise<FastifyInstance> {
  await app.register(async (scope) => {
    prepareScope(scope, PLUGIN)
    scope.addHook('onRequest', guard(authorize, refusals))
    scope.post<Shape>('/send/*', { schema: { params: Wildcard, querystring: Query, body: Body, response: answers(Answer) } }, async ({ params, query, body }) =>
      ok({ name: params['*'], limit: query.limit ?? null, data: body.data, any: { a: [1] }, at: new Date(0), secret: 'not in the schema' }))
    scope.post('/clear', { schema: { response: answers(Type.Object({ cleared: Type.Boolean() })) } }, async ({ body }) => ok({ cleared: body === undefined }))
    scope.get('/kept', { schema: { response: answers(Type.Object({})) } }, async (_request, reply) => {
      reply.header('cache-control', 'private, no-cache')
      return ok({})
    })
    scope.get('/text', { schema: { response: { ...answers(Answer), 200: Type.String() } } }, async (_request, reply) => {
      reply.type('text/plain')
      throw Object.assign(new Error('E11000 duplicate key { password: "x" }'), { code: 11000 })
    })
  })
  return app
}

/** As @fastify/type-provider-typebox does it. */
function typeBox (app: FastifyInstance): void {
  app.setValidatorCompiler<TSchema>(({ schema, httpPart }) => {
    const compiled = Compile(schema)
    return (given: unknown) => {
      const value = httpPart === 'body' ? given : Value.Convert(schema, given)
      return compiled.Check(value) ? { value } : { error: compiled.Errors(value) as never }
    }
  })
}

/** Compilers for other schemas than JSON Schema, a formatter and a handler of the application's own. */
function foreign (app: FastifyInstance): void {
  app.setValidatorCompiler(() => { throw new TypeError('schema.safeParse is not a function') })
  app.setSerializerCompiler(() => { throw new TypeError('schema.safeParse is not a function') })
  app.setSchemaErrorFormatter(() => new Error('formatted'))
  app.setErrorHandler(async (_err, _request, reply) => reply.code(418).send('mine'))
}

const APPLICATIONS: Array<[name: string, set: (app: FastifyInstance) => void]> = [['Ajv', () => {}], ['TypeBox', typeBox], ['foreign compilers', foreign]]

for (const [name, set] of APPLICATIONS) {
  t.test(`routes answer the same in an application with ${name}`, async (t) => {
    const app = Fastify()
    t.teardown(() => app.close())
    set(app)
    await sample(app)
    const send = (url: string, payload: unknown) => app.inject({ method: 'POST', url, headers: { 'content-type': 'application/json' }, payload: typeof payload === 'string' ? payload : JSON.stringify(payload) })

    const sent = await send('/send/a%2Fb/c?limit=5&all=true', { data: { x: [1] } })
    t.strictSame([sent.statusCode, sent.json()], [200, { success: true, data: { name: 'a/b/c', limit: 5, data: { x: [1] }, any: { a: [1] }, at: '1970-01-01T00:00:00.000Z' } }])
    t.equal((await send(`/send/${'n'.repeat(150)}`, { data: 1 })).json().data.name.length, 150)

    t.equal(sent.headers['cache-control'], 'no-store')
    t.equal((await app.inject('/kept')).headers['cache-control'], 'private, no-cache', 'unless the route says otherwise')

    const refused = async (answer: Promise<{ statusCode: number, headers: Record<string, unknown>, json: () => unknown }>, statusCode: number, code: string, error: string | RegExp): Promise<void> => {
      const { statusCode: status, headers, json } = await answer
      t.equal(headers['cache-control'], 'no-store')
      const body = json() as { error: string }
      t.equal(status, statusCode)
      t.match(body, { success: false, error, code, statusCode })
      t.strictSame(Object.keys(body).sort(), ['code', 'error', 'statusCode', 'success'])
    }
    for (const limit of ['0', '1.5', 'true', '5n', '0x5', '%205', '']) await refused(send(`/send/a?limit=${limit}`, { data: 1 }), 400, 'FST_ERR_VALIDATION', 'querystring.limit must be a whole number from 1 to 9')
    await refused(send('/send/a?limit=x', { data: 1 }), 400, 'FST_ERR_VALIDATION', /limit/)
    await refused(send('/send/a', {}), 400, 'FST_ERR_VALIDATION', 'body.data is missing')
    await refused(send('/send/a', { data: 1, more: 2 }), 400, 'FST_ERR_VALIDATION', 'body.more is unknown')
    t.strictSame((await send('/clear', '')).json(), { success: true, data: { cleared: true } }, 'a type with no body behind it')
    const bytes = (text: string, encoding: BufferEncoding) => app.inject({ method: 'POST', url: '/send/x', headers: { 'content-type': 'application/json' }, payload: Buffer.from(JSON.stringify({ data: text }), encoding) })
    await refused(bytes('caf\u00e9', 'latin1'), 400, 'FST_ERR_CTP_INVALID_JSON_BODY', /UTF-8/)
    t.equal((await bytes('caf\u00e9', 'utf8')).json().data.data, 'caf\u00e9')
    await refused(send('/send/a', ''), 400, 'FST_ERR_VALIDATION', /body/)
    await refused(send('/send/a', '{'), 400, 'FST_ERR_CTP_INVALID_JSON_BODY', /JSON/)
    await refused(app.inject('/text'), 500, 'FST_ERR_SAMPLE_INTERNAL', 'Internal Server Error')
  })
}

const error = (fields: object): Error => Object.assign(new Error('text'), fields)
const TOLD: Array<[name: string, thrown: unknown, told: object]> = [
  ['a foreign error', new Error('secret'), { statusCode: 500, code: 'FST_ERR_SAMPLE_INTERNAL', error: 'Internal Server Error', headers: {} }],
  ['no error at all', null, { statusCode: 500, code: 'FST_ERR_SAMPLE_INTERNAL' }],
  ['a text', 'secret', { statusCode: 500, error: 'Internal Server Error' }],
  ['a driver’s error with a number as its code', error({ code: 11000 }), { statusCode: 500, code: 'FST_ERR_SAMPLE_INTERNAL' }],
  ['a driver’s error that is a refusal', error({ code: 121, statusCode: 422 }), { statusCode: 422, code: 'FST_ERR_SAMPLE_REFUSED', error: 'text' }],
  ['one of its own', error({ code: 'FST_ERR_SAMPLE_LOST', statusCode: 500 }), { statusCode: 500, code: 'FST_ERR_SAMPLE_LOST', error: 'text' }],
  ['a 503 of a sibling', error({ code: 'FST_ERR_OTHER_AWAY', statusCode: 503, headers: { 'Retry-After': 2, 'x-secret': 'y' } }), { statusCode: 503, code: 'FST_ERR_OTHER_AWAY', error: 'text', headers: { 'retry-after': '2' } }],
  ['a 500 of a sibling', error({ code: 'FST_ERR_OTHER_BROKEN', statusCode: 500 }), { code: 'FST_ERR_SAMPLE_INTERNAL', error: 'Internal Server Error' }],
  ['a foreign 503', error({ code: 'ECONNREFUSED', statusCode: 503 }), { statusCode: 503, code: 'FST_ERR_SAMPLE_INTERNAL', error: 'Internal Server Error' }],
  ['a refusal by the application', error({ code: 'NOT_PAID', statusCode: 402 }), { statusCode: 402, code: 'NOT_PAID', error: 'text' }],
  ['a refusal without a code', error({ statusCode: 403 }), { statusCode: 403, code: 'FST_ERR_SAMPLE_FORBIDDEN' }],
  ['headers that no answer can have', error({ statusCode: 401, retryAfter: Infinity, headers: { 'www-authenticate': 'Bearer realm="\u2713"', 'retry-after': '1\r\nset-cookie: a=b' } }), { statusCode: 401, headers: { 'www-authenticate': 'Bearer' } }],
  ['a refusal that says when', error({ statusCode: 429, retryAfter: 1.2 }), { statusCode: 429, headers: { 'retry-after': '2' } }],
  ['a 401', error({ statusCode: 401 }), { statusCode: 401, code: 'FST_ERR_SAMPLE_UNAUTHORIZED', headers: { 'www-authenticate': 'Bearer' } }],
  ['a 401 with a scheme', error({ statusCode: 401, headers: { 'WWW-Authenticate': 'Basic realm="x"' } }), { headers: { 'www-authenticate': 'Basic realm="x"' } }],
  ['a status that is none', error({ statusCode: 200 }), { statusCode: 500 }],
  ['a status that is no number', error({ statusCode: '404' }), { statusCode: 500 }]
]

t.test('a client learns what is meant for it, and nothing else', async (t) => {
  for (const [name, thrown, told] of TOLD) {
    const found = tellOf(thrown, PLUGIN)
    t.match(found, told, name)
    if ('headers' in told) t.strictSame(found.headers, told.headers, name)
  }
})

interface Person { user?: unknown, session?: unknown }
const SOMEBODY: Array<[name: string, given: Person | { current: () => unknown }, status: number]> = [
  ['nobody', {}, 401],
  ['a user of a token', { user: { id: 1 } }, 403],
  ['a user who is null', { user: null }, 401],
  ['a session without a user', { session: { cart: [] } }, 401],
  ['a session with a user', { session: { user: { id: 1 } } }, 403],
  ['a session with the id of a user', { session: { userId: 0 } }, 403],
  ['a session of passport', { session: { passport: { user: 'a' } } }, 403],
  ['a session with methods', { session: { get: (name: string) => name === 'user' ? 'a' : undefined } }, 403],
  ['a session of redis-sessions', { current: () => ({ userId: 'a' }) }, 403],
  ['no session of redis-sessions', { current: () => null }, 401],
  ['sessions that are out of reach', { current: () => { throw new Error('away') } }, 401]
]

t.test('nobody is 401, somebody who may not is 403', async (t) => {
  for (const [name, given, status] of SOMEBODY) {
    const app = Fastify()
    if ('current' in given) app.decorate('sessions', { current: given.current } as never)
    else app.addHook('onRequest', async (request) => { Object.assign(request, given) })
    await sample(app, () => false)
    const answer = await app.inject({ url: '/text', headers: { authorization: 'Bearer wrong' } })
    t.equal(answer.statusCode, status, name)
    t.equal(answer.json().code, status === 401 ? 'FST_ERR_SAMPLE_UNAUTHORIZED' : 'FST_ERR_SAMPLE_FORBIDDEN')
    t.equal(answer.headers['www-authenticate'], status === 401 ? 'Bearer' : undefined)
    await app.close()
  }
})

t.test('only true passes, and an application’s own refusal is the answer', async (t) => {
  const status = async (authorize: Authorize): Promise<number> => {
    const app = await sample(Fastify(), authorize)
    const { statusCode } = await app.inject('/text')
    await app.close()
    return statusCode
  }
  t.equal(await status(async () => true), 500, 'it came to the handler')
  for (const given of [undefined, null, 1, 'true', {}]) t.equal(await status(() => given as never), 401)
  t.equal(await status(async () => { throw Object.assign(new Error('pay first'), { statusCode: 402 }) }), 402)
  t.equal(await status(() => { throw new TypeError('fault') }), 500)
})

t.test('who fails to be authorized sees what anybody sees', async (t) => {
  const warnings: unknown[] = []
  const request = { log: { warn: (fields: { err: Error }) => { warnings.push(fields.err.message) } } } as unknown as FastifyRequest
  t.equal(await isAuthorized(undefined, request), false)
  t.equal(await isAuthorized(() => true, request), true)
  t.equal(await isAuthorized(() => 1 as never, request), false)
  t.equal(await isAuthorized(() => { throw Object.assign(new Error('no'), { statusCode: 403 }) }, request), false)
  t.equal(await isAuthorized(async () => { throw new Error('fault') }, request), false)
  t.equal(await isAuthorized(() => new Promise(() => {}), request, 5), false)
  t.strictSame(warnings, ['fault', 'no answer within 5 ms'])
})
