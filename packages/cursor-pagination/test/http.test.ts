import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import swagger from '@fastify/swagger'
import { Long } from 'bson'
import { Type } from 'typebox'
import t from 'tap'
import cursorPagination, { linkHeader, PageOf, PageQuery, paginateOptions, suggestIndex, toJpulse, toPage, toRelay, type PageQueryOptions } from '../src/index.ts'
import { PlanObserver, problemOf, readsOf } from '../src/mongo/plan-observer.ts'
import { aggregations, finds, joined } from './explained.js'

const code = (name: string) => `FST_ERR_CURSOR_PAGINATION_${name}`
const User = Type.Object({ _id: Type.Integer(), name: Type.String() })
const users = Array.from({ length: 25 }, (_, _id) => ({ _id, name: `user ${_id % 5}`, salary: _id * 10 }))

async function build (query: PageQueryOptions = { sortable: ['name', '_id'] }, pluginOptions = {}) {
  const app = Fastify()
  t.teardown(() => app.close())
  // Not awaited, as in most applications: the routes below are defined before the plugin is loaded.
  app.register(swagger, { openapi: { info: { title: 'users', version: '1' } } })
  app.register(cursorPagination, { secret: 's', ...pluginOptions })
  app.register(async (app) => {
    app.get('/users', { schema: { querystring: PageQuery(query), response: { 200: PageOf(User) } } }, async (request, reply) => {
      const page = await app.paginate(users, { ...paginateOptions(request.query), total: 'firstPage' })
      reply.header('link', linkHeader(page, request))
      return toJpulse(page)
    })
  })
  app.get('/early', { schema: { querystring: Type.Intersect([PageQuery(query), Type.Object({ q: Type.Optional(Type.String()) })]) } },
    async (request) => toJpulse(await app.paginate(users, paginateOptions(request.query))))
  app.get('/raw', async (request) => toJpulse(await app.paginate(users, paginateOptions(request.query))))
  await app.ready()
  return app
}

const get = async (app: FastifyInstance, url: string) => {
  const response = await app.inject(url)
  return { status: response.statusCode, body: response.json(), link: String(response.headers.link) }
}

t.test('a page is answered in the shape of jPulse, and its cursors lead through all rows and back', async (t) => {
  const app = await build()
  const { status, body } = await get(app, '/users?limit=2&sort=-name')
  const { nextCursor } = body.pagination
  t.strictSame([status, body], [200, {
    success: true,
    data: [{ _id: 24, name: 'user 4' }, { _id: 19, name: 'user 4' }],
    count: 2,
    pagination: { mode: 'cursor', total: 25, totalIsExact: true, limit: 2, hasMore: true, nextCursor, prevCursor: null }
  }])
  t.match(nextCursor, /^[\w-]+$/)
  const { body: second } = await get(app, `/users?limit=2&sort=-name&cursor=${nextCursor}`)
  t.strictSame(second.data.map(({ _id }: { _id: number }) => _id), [14, 9])
  t.equal(second.pagination.total, null)
  const { body: first } = await get(app, `/users?limit=2&sort=-name&cursor=${second.pagination.prevCursor}`)
  t.strictSame([first.data, first.pagination.hasMore, first.pagination.prevCursor], [body.data, true, null])
  const { body: last } = await get(app, '/users?limit=25&sort=_id')
  t.strictSame([last.pagination.hasMore, last.pagination.nextCursor], [false, null])
})

t.test('offset in the query selects the old offset mode', async (t) => {
  const { body } = await get(await build(), '/users?limit=10&offset=20&sort=_id')
  t.strictSame([body.count, body.pagination], [5, { mode: 'offset', total: null, limit: 10, offset: 20, hasMore: false, nextCursor: null, prevCursor: null }])
})

t.test('what a visitor gets wrong is answered with 400', async (t) => {
  const app = await build()
  const { body: { pagination: { nextCursor } } } = await get(app, '/users?limit=2')
  const bad = ['limit=0', 'limit=-1', 'limit=1.5', 'limit=NaN', 'limit=5&limit=6', 'limit=x', 'offset=-1', 'offset=0.5', 'offset=20000', `offset=1&cursor=${nextCursor}`,
    'cursor=x', `cursor=${nextCursor}&cursor=${nextCursor}`, `cursor=${nextCursor}&sort=name`, `cursor=${'A'.repeat(2 ** 20)}`,
    'sort=salary', 'sort=-salary', 'sort=name,salary', 'sort=name,name', 'sort=name,', 'sort=--name', 'sort=$name', 'sort=+name', 'sort=name&sort=_id']
  for (const query of bad) t.equal((await get(app, `/users?${query}`)).status, 400, query.slice(0, 60))
  for (const [query, code] of [['sort=salary', 'INVALID_SORT'], [`cursor=${'A'.repeat(2 ** 20)}`, 'INVALID_CURSOR'], ['offset=20000', 'INVALID_OFFSET']]) {
    t.equal((await get(app, `/users?${query}`)).body.code, `FST_ERR_CURSOR_PAGINATION_${code}`, String(query).slice(0, 60))
  }
})

t.test('a limit above the maximum of the route or of the plugin is lowered to it', async (t) => {
  const app = await build({ maxLimit: 3 }, { maxLimit: 20 })
  for (const path of ['/users', '/early']) {
    t.equal((await get(app, `${path}?limit=500`)).body.pagination.limit, 3, path)
    t.equal((await get(app, path)).body.pagination.limit, 3, 'the default is not above it')
    t.equal((await get(app, `${path}?limit=2`)).body.count, 2)
  }
  t.equal((await get(app, '/raw?limit=500')).body.pagination.limit, 20)
  const strict = await build({ maxLimit: 3 }, { strictLimit: true })
  t.strictSame([(await get(strict, '/users?limit=4')).status, (await get(strict, '/users?limit=3')).status], [400, 200])
})

t.test('visitors sort by the fields that the schema lists and by no others', async (t) => {
  const app = await build()
  t.equal((await get(app, '/users?sort=-_id')).body.data[0]._id, 24)
  t.equal((await get(app, '/early?sort=-_id&q=other')).body.data[0]._id, 24, 'beside other parameters, on a route older than the plugin')
  const none = await build({})
  for (const [url, where] of [['/users?sort=name', none], ['/early?sort=name', none], ['/raw?sort=name', app]] as const) {
    const { status, body } = await get(where, url)
    t.strictSame([status, body.code], [400, 'FST_ERR_CURSOR_PAGINATION_INVALID_SORT'], url)
  }
  t.strictSame(paginateOptions({ sort: 'name,-_id', limit: '500', q: 1 }, { sortable: ['name', '_id'], maxLimit: 9 }), { sort: [['name', 1], ['_id', -1]], limit: 9 })
  t.throws(() => paginateOptions({ sort: 'salary' }, { sortable: ['name'] }), { code: 'FST_ERR_CURSOR_PAGINATION_INVALID_SORT' })
  t.strictSame(paginateOptions(undefined), {})
})

t.test('what a form sends empty counts as not there', async (t) => {
  const app = await build()
  for (const path of ['/users', '/early']) {
    const { status, body } = await get(app, `${path}?limit=&cursor=&sort=&offset=`)
    t.strictSame([status, body.count, body.pagination.mode], [200, 25, 'cursor'], path)
  }
  t.strictSame(paginateOptions({ limit: '', cursor: '', sort: '', offset: '' }, {}), {})
})

t.test('the limit of a route holds however its query is read, and where no rules are known there is an error instead of a page', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const seen: Record<string, unknown> = {}
  const read = (name: string, query: unknown) => {
    try { seen[name] = paginateOptions(query).limit } catch (err) { seen[name] = (err as { code: string }).code }
  }
  // Before the plugin is loaded, so before its own hooks.
  app.addHook('onRequest', async (request) => read('an earlier hook', request.query))
  app.addHook('preValidation', async (request) => read('before validation', { ...request.query as object }))
  await app.register(cursorPagination, { secret: 's' })
  app.addSchema({ $id: 'page', ...PageQuery({ maxLimit: 10, sortable: ['name'] }) })
  const read200 = async (request: { query: unknown }) => {
    read('itself', request.query)
    read('a copy', { ...request.query as object })
    read('a copy with a default', { limit: 200, ...request.query as object })
    read('by way of JSON', JSON.parse(JSON.stringify(request.query)))
    return null
  }
  const shared = PageQuery({ maxLimit: 10, sortable: ['name'] })
  const schemas = {
    '/plain': shared,
    '/ref': { $ref: 'page#' },
    '/spread': { ...shared, additionalProperties: true },
    '/clone': JSON.parse(JSON.stringify(shared)),
    '/all': { allOf: [{ $ref: 'page#' }, { type: 'object', properties: { q: { type: 'string' } } }] }
  }
  for (const [url, querystring] of Object.entries(schemas)) app.get(url, { schema: { querystring } }, read200)
  for (const url of Object.keys(schemas)) {
    await app.inject(`${url}?limit=200&sort=name`)
    t.strictSame(seen, { 'an earlier hook': code('INVALID_OPTIONS'), 'before validation': 10, itself: 10, 'a copy': 10, 'a copy with a default': 10, 'by way of JSON': code('INVALID_OPTIONS') }, url)
  }
})

t.test('rules that are none are an error where they are written, never a route without a limit', async (t) => {
  const wrong = [{ maxlimit: 10 }, new Map([['maxLimit', 10]]), { maxLimit: '10' }, { maxLimit: NaN }, { maxLimit: null }, { maxLimit: 0 }, { maxSortFields: '1' }, { offset: 'no' }, { sortable: new Set(['a']) }] as object[]
  for (const rules of wrong) {
    t.throws(() => PageQuery(rules), { code: code('INVALID_OPTIONS'), message: /of a PageQuery/ })
    t.throws(() => paginateOptions({ limit: '200' }, rules), { code: code('INVALID_OPTIONS') })
  }
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cursorPagination, { secret: 's' })
  app.get('/inherited', { schema: { querystring: PageQuery(Object.create({ maxLimit: 10 })) } }, async (request) => paginateOptions(request.query))
  app.get('/none', { schema: { querystring: PageQuery() } }, async (request) => paginateOptions(request.query))
  t.strictSame((await app.inject('/inherited?limit=200')).json(), { limit: 10 }, 'not taken for the rules of another route')
  t.strictSame((await app.inject('/none?limit=200')).json(), { limit: 200 })
})

t.test('visitors sort by public names, in fixed orders, by so many fields, and skip rows only where that is offered', async (t) => {
  const sortable = { created: 'createdAt', price: { field: 'cents', type: 'number' }, newest: { createdAt: -1, name: 1 }, dear: [['cents', -1]] } as const
  const sorted = (sort: string) => paginateOptions({ sort }, { sortable, maxSortFields: 2 }).sort
  t.strictSame(sorted('-created'), [['createdAt', -1]])
  t.strictSame(sorted('price,created'), [['cents', { order: 1, type: 'number' }], ['createdAt', 1]])
  t.strictSame(sorted('newest'), [['createdAt', -1], ['name', 1]])
  t.strictSame(sorted('dear'), [['cents', -1]])
  for (const sort of ['createdAt', 'cents', '-newest', '-dear', 'price,created,newest', '__proto__', 'toString']) {
    t.throws(() => sorted(sort), { code: code('INVALID_SORT'), statusCode: 400 }, sort)
  }
  t.throws(() => PageQuery({ sortable: { odd: { name: 2 as 1 } } }), { code: code('INVALID_SORT') })
  t.throws(() => paginateOptions({ offset: '5' }, { offset: false }), { code: code('INVALID_OFFSET'), statusCode: 400 })
  const app = await build({ sortable: { by: 'name' }, offset: false })
  t.strictSame([(await get(app, '/users?sort=-by&limit=1')).body.data[0].name, (await get(app, '/users?sort=name')).status, (await get(app, '/users?offset=1')).status], ['user 4', 400, 400])
  t.notOk(app.swagger().paths?.['/users']?.get?.parameters?.some((parameter) => 'name' in parameter && parameter.name === 'offset'))
})

t.test('a page is given plainly, in the shape of jPulse or of Relay, with what is shown of each item', async (t) => {
  const { paginate } = await build()
  const page = await paginate(users, { limit: 2, total: 'exact' })
  const name = (user: { name: string }, i: number) => ({ label: `${i} ${user.name}` })
  t.strictSame(toPage(page), { items: users.slice(0, 2), nextCursor: page.pageInfo.nextCursor })
  t.strictSame(toPage(page, name).items, [{ label: '0 user 0' }, { label: '1 user 1' }])
  t.strictSame([toJpulse(page, name).data, toJpulse(page, name).count], [[{ label: '0 user 0' }, { label: '1 user 1' }], 2])
  t.strictSame(toRelay(page, name).edges.map(({ node, cursor }) => [node.label, cursor]), page.items.map((user, i) => [`${i} ${user.name}`, page.pageInfo.cursorOf(user)]))
})

t.test('a Link header names the first, previous and next page and keeps the other parameters', async (t) => {
  const app = await build()
  const links = (header: string) => Object.fromEntries([...header.matchAll(/<([^<>]*)>; rel="(\w+)"/g)].map(([, url, rel]) => [rel, url]))
  const start = links((await get(app, '/users?q=a%20%22%3E%2C&limit=10&sort=_id')).link)
  t.strictSame(Object.keys(start), ['first', 'next'])
  t.equal(start['first'], '?q=a+%22%3E%2C&limit=10&sort=_id')
  const second = links((await get(app, `/users${start['next']}`)).link)
  t.strictSame(Object.keys(second), ['first', 'prev', 'next'])
  const third = await get(app, `/users${second['next']}`)
  t.strictSame([third.body.count, Object.keys(links(third.link))], [5, ['first', 'prev']])
  const back = await get(app, `/users${links(third.link)['prev']}`)
  t.strictSame(back.body.data.map(({ _id }: { _id: number }) => _id), [10, 11, 12, 13, 14, 15, 16, 17, 18, 19])
  const offset = links((await get(app, '/users?limit=10&offset=5')).link)
  t.strictSame(offset, { first: '?limit=10&offset=0', prev: '?limit=10&offset=0', next: '?limit=10&offset=15' })
})

t.test('links are a query alone, so they lead to the path that was asked for behind a proxy that strips a prefix too, and nowhere else', async (t) => {
  const page = await (await build()).paginate(users, { limit: 2 })
  for (const originalUrl of ['/users', '//evil.example/users', '\\\\evil.example/users', '/users>; rel="next", <x', '/users?a=1#>', '/users?x=">,<&y=?']) {
    const header = linkHeader(page, { originalUrl })
    t.match(header, /^<\?[^<>"\s]*>; rel="first", <\?[^<>"\s]+>; rel="next"$/, originalUrl)
    const { host, pathname } = new URL(String(/<([^>]*)>; rel="next"/.exec(header)?.[1]), 'https://shop.example/api/users?limit=2')
    t.strictSame([host, pathname], ['shop.example', '/api/users'])
  }
})

t.test('a page is formatted as a Relay connection whose cursors are those of its items', async (t) => {
  const { paginate } = await build()
  const first = toRelay(await paginate(users, { limit: 2, total: 'exact' }))
  t.strictSame(first.edges.map(({ node }) => node._id), [0, 1])
  t.strictSame(first.pageInfo, { hasNextPage: true, hasPreviousPage: false, startCursor: first.edges[0]?.cursor, endCursor: first.edges[1]?.cursor })
  t.equal(first.totalCount, 25)
  const next = toRelay(await paginate(users, { limit: 2, after: first.edges[0]?.cursor ?? null }))
  t.strictSame([next.edges.map(({ node }) => node._id), next.pageInfo.hasPreviousPage], [[1, 2], true])
  const before = toRelay(await paginate(users, { limit: 2, before: next.pageInfo.endCursor }))
  t.strictSame(before.edges.map(({ node }) => node._id), [0, 1])
  // A loader gives one object, or nothing, for several rows: each edge still has the cursor of its own row.
  for (const shown of [users[0], null]) {
    const edges = toRelay(await paginate(users, { limit: 4, page: (rows) => rows.map((row) => row._id === 2 ? row : shown) })).edges
    t.strictSame(await Promise.all(edges.map(async ({ cursor }) => (await paginate(users, { limit: 1, after: cursor })).items[0]?._id)), [1, 2, 3, 4])
  }
  const same = await paginate(users, { limit: 3, page: (rows) => rows.map(() => 'one') })
  t.strictSame(same.items.map(same.pageInfo.cursorOf).slice(1), [same.pageInfo.cursorOf('one', 1), same.pageInfo.endCursor])
  for (const [item, index] of [['two', 0], ['two', 3], [undefined, -1], [undefined, 3]] as Array<[string, number]>) t.throws(() => same.pageInfo.cursorOf(item, index), TypeError)
  t.strictSame(toRelay(await paginate([])), { edges: [], pageInfo: { hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null } })
})

t.test('a paged route appears in OpenAPI with its parameters and its response', async (t) => {
  const app = await build({ sortable: ['name', '_id'], maxLimit: 100 })
  const spec = JSON.parse(JSON.stringify(app.swagger()))
  const route = spec.paths['/users'].get
  const parameters = Object.fromEntries(route.parameters.map((parameter: { name: string }) => [parameter.name, parameter]))
  t.strictSame(Object.keys(parameters).sort(), ['cursor', 'limit', 'offset', 'sort'])
  t.match(parameters.limit, { in: 'query', schema: { type: 'integer', minimum: 1 }, description: /at most 100/ })
  t.match(parameters.sort.description, /name, _id/)
  const schema = route.responses['200'].content['application/json'].schema
  t.strictSame(schema.required, ['success', 'data', 'count', 'pagination'])
  t.match(schema.properties, { data: { type: 'array', items: { properties: { name: { type: 'string' } } } }, pagination: { properties: { nextCursor: { type: 'string', nullable: true } } } })
  t.notOk((await build({})).swagger().paths?.['/users']?.get?.parameters?.some((parameter) => 'name' in parameter && parameter.name === 'sort'), 'no sort without a list')
})

t.test('a server that does not explain is one warning per collection', async (t) => {
  const warned: string[] = []
  const observer = new PlanObserver({ warn: (_details: object, text: string) => { warned.push(text) } } as never)
  const shape = { filter: {}, fields: [], collation: undefined }
  for (const namespace of ['db.a', 'db.a', 'db.b']) t.same(await observer.observe(namespace, shape, async () => { throw new Error('not authorized') }), {})
  t.match(warned, [/did not explain a query of db.a/, /did not explain a query of db.b/])
  t.equal(warned.length, 2)
})

t.test('the index of a listing has its equalities first, then its order and key, then its ranges', async (t) => {
  t.strictSame(suggestIndex({ filter: { at: { $gt: 5 }, tenant: 1, $and: [{ kind: { $eq: 'x' } }, { n: /x/ }], $or: [{ z: 1 }] }, sort: { createdAt: -1, name: 1 }, collation: { locale: 'de' } }),
    { key: { tenant: 1, kind: 1, createdAt: -1, name: 1, _id: 1, at: 1, n: 1 }, options: { collation: { locale: 'de' } } })
  t.strictSame(suggestIndex({}), { key: { _id: 1 }, options: {} })
  t.strictSame(suggestIndex({ filter: { at: new Date(0) }, sort: { at: -1 }, key: 'sku' }), { key: { at: 1, sku: -1 }, options: {} })
  t.throws(() => suggestIndex({ sort: { $a: 1 } }), { code: 'FST_ERR_CURSOR_PAGINATION_INVALID_SORT' })
})

for (const [version, reply] of Object.entries({ ...finds, ...aggregations })) {
  t.test(`explained by ${version}: plans that scan or sort are told from those that do not, and what was read is summed`, async (t) => {
    t.strictSame(readsOf(reply(41, 23)), { keys: 41, documents: 23 })
    t.equal(problemOf(reply(41, 23)), undefined)
    t.match(problemOf(reply(0, 900, { stage: 'LIMIT', inputStage: { stage: 'COLLSCAN' } })), /scans the whole/)
    t.match(problemOf(reply(0, 900, { stage: 'SORT', inputStage: { stage: 'COLLSCAN' } })), /scans the whole/)
    t.match(problemOf(reply(0, 900, { stage: 'FETCH', inputStage: { stage: 'SORT', inputStage: { stage: 'IXSCAN' } } })), /sorts in memory$/)
    for (const good of ['EXPRESS_IXSCAN', 'EXPRESS_CLUSTERED_IXSCAN', 'IDHACK', 'SORT_MERGE']) t.equal(problemOf(reply(1, 1, { stage: good, inputStages: [{ stage: 'IXSCAN' }] })), undefined, good)
  })
}

t.test('an explained join counts what it read of the other collection, a sort behind it is one in memory, and unknown forms say nothing', async (t) => {
  t.strictSame(readsOf(joined(Long.fromNumber(7), 5n)), { keys: 27, documents: 25 })
  t.match(problemOf(joined(1, 1)), /stages of its pipeline/)
  for (const unknown of [null, {}, { queryPlanner: { Plan: ['SCAN a'] } }, 'text', { stages: null }]) {
    t.equal(problemOf(unknown), undefined)
    t.strictSame(readsOf(unknown), {})
  }
})

t.test('the example of the README runs', async (t) => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const [, example = ''] = /```js\n([\s\S]*?)```/.exec(readme) ?? []
  // Beside the package, so that its imports are found; its own name leads to what was built.
  const cache = fileURLToPath(new URL('../.cache', import.meta.url))
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'readme-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'example.js'), `${example}\nexport { app }\n`)
  const { app } = await import(pathToFileURL(join(folder, 'example.js')).href) as { app: FastifyInstance }
  t.teardown(() => app.close())
  const { body: first } = await get(app, '/users?limit=2&sort=-createdAt')
  t.strictSame(first.items, [{ name: 'Edsger' }, { name: 'Grace' }])
  const { body: second } = await get(app, `/users?limit=2&sort=-createdAt&cursor=${first.nextCursor}`)
  t.strictSame(second, { items: [{ name: 'Ada' }], nextCursor: null })
})
