import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { waitFor } from '../../../test/helpers/index.ts'
import { ALICE, BOB, caller, idOf, store, tokenFor } from './helper.ts'

// What rerum_server_nodejs documents, section by section of its API page, and what its own route tests ask of it. The
// rows that differ are those of the README's table.

t.setTimeout(240_000)

const CONTEXT_REL = 'http://www.w3.org/ns/json-ld#context'
const TEXT = { 'content-type': 'text/plain' }

type Call = ReturnType<typeof caller>
interface Tools { app: FastifyInstance, call: Call, bob: Call, make: (parent: { '@id': string }, body: object) => Promise<any> }

const linksOf = (header: unknown): Record<string, string> =>
  Object.fromEntries([...String(header ?? '').matchAll(/<([^>]+)>;\s*rel="([^"]+)"/g)].map(([, url, rel]) => [rel, url]))

/** Sends a text as it is. */
const send = async (app: FastifyInstance, method: InjectOptions['method'], url: string, payload?: string, headers: Record<string, string> = {}) => {
  const response = await app.inject({ method: method!, url: `/v1${url}`, headers: { authorization: `Bearer ${tokenFor(ALICE)}`, ...headers }, ...(payload !== undefined && { payload }) })
  return { status: response.statusCode, headers: response.headers, text: response.body, json: response.body.startsWith('{') || response.body.startsWith('[') ? response.json() : undefined }
}

/** HEAD has the status and the headers of GET, its length among them, and no body. */
async function sameByHead (t: Test, { call }: Tools, path: string): Promise<void> {
  // A list that is not cached was modified when it was made: both are asked within one second.
  const [get, head] = await waitFor(async () => {
    const both = [await call('GET', path), await call('HEAD', path)] as const
    return both[0].headers['last-modified'] === both[1].headers['last-modified'] && both
  }, { what: 'GET and HEAD of one time' }) as [Awaited<ReturnType<Call>>, Awaited<ReturnType<Call>>]
  t.equal(head.status, get.status)
  t.equal(head.text, '')
  t.ok(Number(get.headers['content-length']) > 0)
  for (const name of ['content-length', 'cache-control', 'last-modified', 'etag', 'content-type', 'link', 'allow', 'current-overwritten-version', 'location']) t.equal(head.headers[name], get.headers[name], name)
}

const SECTIONS: Record<string, Record<string, (t: Test, tools: Tools) => Promise<unknown>>> = {
  'Single object by id': {
    'the object, without the key of the database': async (t, { call }) => {
      const { json: x } = await call('POST', '/api/create', { test: 'item' })
      const read = await call('GET', `/id/${idOf(x)}`)
      t.equal(read.status, 200)
      t.match(read.json, { '@id': x['@id'], test: 'item', __rerum: { generatedBy: ALICE } })
      t.notOk('_id' in read.json)
    },
    'its headers': async (t, { call }) => {
      const { json: x } = await call('POST', '/api/create', { test: 'item' })
      const { headers } = await call('GET', `/id/${idOf(x)}`)
      t.match(headers, { location: x['@id'], etag: /^"/, 'last-modified': /GMT$/, allow: 'GET, HEAD, OPTIONS', 'content-type': /^application\/json/, 'current-overwritten-version': '' })
    },
    'HEAD as GET, for one that was overwritten too': async (t, tools) => {
      const { json: x } = await tools.call('POST', '/api/create', { test: 'item' })
      await sameByHead(t, tools, `/id/${idOf(x)}`)
      const { json } = await tools.call('PUT', '/api/overwrite', { '@id': x['@id'], test: 'other' })
      t.equal((await tools.call('HEAD', `/id/${idOf(x)}`)).headers['current-overwritten-version'], json.__rerum.isOverwritten)
      t.not(json.__rerum.isOverwritten, '')
    },
    'HEAD and GET of what is not there: 404': async (t, { call }) => {
      for (const method of ['GET', 'HEAD'] as const) t.equal((await call(method, '/id/507f1f77bcf86cd799439011')).status, 404)
    }
  },
  'History tree before, and since this version': {
    'ancestors of a branch, descendants of all branches in preorder': async (t, { call, make }) => {
      const { json: a } = await call('POST', '/api/create', { n: 'a' })
      const b = await make(a, { n: 'b' })
      const c = await make(b, { n: 'c' })
      const d = await make(a, { n: 'd' })
      const named = async (path: string) => (await call('GET', path)).json.map(({ n }: { n: string }) => n)
      t.same(await named(`/history/${idOf(c)}`), ['b', 'a'])
      t.same(await named(`/history/${idOf(d)}`), ['a'])
      t.same(await named(`/since/${idOf(a)}`), ['b', 'c', 'd'])
    },
    'headers, HEAD, 404': async (t, tools) => {
      const { json: x } = await tools.call('POST', '/api/create', { n: 1 })
      await tools.make(x, { n: 2 })
      for (const kind of ['history', 'since']) {
        const { headers } = await tools.call('GET', `/${kind}/${idOf(x)}`)
        t.match(headers, { 'last-modified': /GMT$/, etag: /^"/, 'content-type': /^application\/json/ })
        t.ok(linksOf(headers.link)[CONTEXT_REL])
        await sameByHead(t, tools, `/${kind}/${idOf(x)}`)
        for (const method of ['GET', 'HEAD'] as const) t.equal((await tools.call(method, `/${kind}/507f1f77bcf86cd799439011`)).status, 404)
      }
    }
  },
  Create: {
    '201 with the address, and the object twice': async (t, { call }) => {
      const made = await call('POST', '/api/create', { '@type': 'sc:Canvas', label: 'page 46' })
      t.match(made, { status: 201, json: { '@type': 'sc:Canvas', label: 'page 46', __rerum: { generatedBy: ALICE } } })
      t.equal(made.headers.location, made.json['@id'])
      t.same(made.state, made.json, 'new_obj_state')
      t.notOk('_id' in made.json)
    },
    'an @id of elsewhere is not kept; with one of ours it says to update': async (t, { call }) => {
      const { json: x } = await call('POST', '/api/create', { '@id': 'https://elsewhere.org/1', a: 1 })
      t.match(x['@id'], /^http:\/\/store\.test/)
      t.match(await call('POST', '/api/create', { '@id': x['@id'], a: 1 }), { status: 400, json: { error: /update/ } })
    },
    'a slug names it once': async (t, { call }) => {
      const { json: x } = await call('POST', '/api/create', { a: 1 }, { slug: 'my-slug' })
      t.equal(x.__rerum.slug, 'my-slug')
      t.same((await call('GET', '/id/my-slug')).json, x)
      t.equal((await call('POST', '/api/create', { a: 1 }, { slug: 'my-slug' })).status, 409)
    },
    'under its former name': async (t, { call }) => t.equal((await call('POST', '/api/create.action', { a: 1 })).status, 201)
  },
  'Bulk Create': {
    'the objects in their order, their addresses in Link': async (t, { call }) => {
      const { status, json, headers } = await call('POST', '/api/bulkCreate', [{ n: 1 }, {}, { n: 2 }])
      t.equal(status, 201)
      t.same(json.map(({ n }: { n: number }) => n), [1, 2], 'without what is empty')
      for (const one of json) t.match(String(headers.link), one['@id'])
      t.notOk(json.some((one: object) => '_id' in one))
    },
    'no array, an empty one, or one of what is no new object: 400': async (t, { call }) => {
      for (const body of [{}, [], [1], [[]], [{ '@id': 'https://elsewhere.org/1', a: 1 }], [{ '@context': 'http://iiif.io/api/presentation/3/context.json', '@id': 'https://elsewhere.org/1' }]]) {
        t.equal((await call('POST', '/api/bulkCreate', body)).status, 400, JSON.stringify(body))
      }
      t.equal((await call('POST', '/api/batch_create', [{ n: 1 }])).status, 201, 'its former name')
    }
  },
  'Custom Query': {
    'matches by all properties, an array whatever is found': async (t, { call }) => {
      await call('POST', '/api/bulkCreate', [{ '@type': 'sc:Canvas', label: 'query 46' }, { '@type': 'sc:Canvas', label: 'query 47' }])
      const { status, json, headers } = await call('POST', '/api/query', { '@type': 'sc:Canvas', label: 'query 46' })
      t.match({ status, json }, { status: 200, json: [{ label: 'query 46' }] })
      t.notOk('_id' in json[0])
      t.ok(linksOf(headers.link)[CONTEXT_REL])
      t.same((await call('POST', '/api/getByProperties.action', { label: 'query of nobody' })).json, [])
      t.match((await call('POST', '/api/query', { _id: idOf(json[0]) })).json, [{ label: 'query 46' }])
      t.match((await call('POST', '/api/query', { $or: [{ label: 'query 46' }, { label: 'query 47' }], '__rerum.history.next': { $exists: true, $size: 0 } })).json, [{}, {}])
    },
    'without any property: 400, and no page': async (t, { call }) => {
      const { status, headers } = await call('POST', '/api/query?limit=25&skip=5', {})
      t.equal(status, 400)
      for (const name of ['limit', 'skip', 'limit-max', 'skip-max']) t.notOk(`pagination-${name}` in headers)
    },
    'HEAD: what POST would say, and 404 where nothing matches': async (t, { app, call }) => {
      await call('POST', '/api/create', { label: 'by head' })
      const found = await call('POST', '/api/query', { label: 'by head' })
      const json = { 'content-type': 'application/json' }
      const head = await send(app, 'HEAD', '/api/query', JSON.stringify({ label: 'by head' }), json)
      t.match(head, { status: 200, text: '', headers: { etag: found.headers.etag, 'content-length': found.headers['content-length'] } })
      t.equal((await send(app, 'HEAD', '/api/query', JSON.stringify({ label: 'of nobody' }), json)).status, 404)
    }
  },
  Pages: {
    'limit and skip as they were applied, and the most of both': async (t, { call }) => {
      for (const path of ['/api/query', '/api/search', '/api/search/phrase']) {
        const { status, headers } = await call('POST', `${path}?limit=25&skip=10`, path === '/api/query' ? { test: 'item' } : { searchText: 'item' })
        t.match({ status, headers }, { status: 200, headers: { 'pagination-limit': '25', 'pagination-skip': '10', 'pagination-limit-max': '500', 'pagination-skip-max': '100000' } })
      }
    },
    'what cannot be read exactly is refused': async (t, { call }) => {
      for (const path of ['/api/query', '/api/search', '/api/search/phrase']) {
        const body = path === '/api/query' ? { test: 'item' } : { searchText: 'item' }
        for (const page of ['limit=abc', 'limit=2.9', 'skip=-5', 'skip=2.9', 'limit=100&limit=200']) t.equal((await call('POST', `${path}?${page}`, body)).status, 400, `${path} ${page}`)
      }
    },
    'too far: 400 which says how far it goes, and the most is still read': async (t, { call }) => {
      t.equal((await call('POST', '/api/query?skip=100000', { test: 'item' })).status, 200)
      const { status, headers } = await call('POST', '/api/query?skip=100001', { test: 'item' })
      t.match({ status, headers }, { status: 400, headers: { 'pagination-skip-max': '100000', 'pagination-limit-max': '500' } })
      for (const name of ['limit', 'skip']) t.notOk(`pagination-${name}` in headers)
    },
    'a media type that is not taken is said first': async (t, { app }) => {
      const { status, headers } = await send(app, 'POST', '/api/query?limit=abc', 'no json', TEXT)
      t.equal(status, 415)
      t.notOk('pagination-skip-max' in headers)
    },
    'rel="next" while there is more, beside the context': async (t, { call }) => {
      await call('POST', '/api/bulkCreate', [1, 2, 3, 4, 5, 6, 7].map((n) => ({ paged: 'yes', n, text: `walked text${n}` })))
      for (const [path, body] of [['/api/query', { paged: 'yes' }], ['/api/search', { searchText: 'walked' }], ['/api/search/phrase', { searchText: 'walked' }]] as const) {
        const { json, headers } = await call('POST', `${path}?limit=3`, body)
        const links = linksOf(headers.link)
        t.equal(json.length, 3)
        t.ok(links[CONTEXT_REL])
        t.match(Object.fromEntries(new URL(links.next!).searchParams), { limit: '3', skip: '3' })
        const walked: number[] = []
        for (let next: string | undefined = `/v1${path}?limit=3`; next !== undefined;) {
          const page = await call('POST', next.slice(next.indexOf('/v1') + 3), body)
          walked.push(...page.json.map(({ n }: { n: number }) => n))
          next = linksOf(page.headers.link).next
          if (walked.length > 7) break
        }
        t.same(walked.sort(), [1, 2, 3, 4, 5, 6, 7], 'each once')
        t.same(Object.keys(linksOf((await call('POST', `${path}?limit=7`, body)).headers.link)), [CONTEXT_REL], 'none at the end')
      }
    },
    'a limit above the most is the most': async (t, { call }) => {
      for (let n = 0; n < 3; n++) await call('POST', '/api/bulkCreate', Array.from({ length: 200 }, () => ({ many: 'yes' })))
      const { json, headers } = await call('POST', '/api/query?limit=600', { many: 'yes' })
      t.equal(json.length, 500)
      t.ok(linksOf(headers.link).next)
    }
  },
  'HTTP POST Method Override': {
    'makes a PATCH of a POST; without it 405': async (t, { call }) => {
      for (const name of ['patch', 'set', 'unset']) {
        const { json: x } = await call('POST', '/api/create', { a: 1 })
        t.match(await call('POST', `/api/${name}`, { '@id': x['@id'], a: 2, b: 2 }, { 'x-http-method-override': 'PATCH' }), { status: 200, json: { __rerum: { history: { previous: x['@id'] } } } }, name)
        t.match(await call('POST', `/api/${name}`, { '@id': x['@id'] }), { status: 405, headers: { allow: /PATCH/ } })
      }
    }
  },
  Update: {
    'replaces everything, at a new address that knows the last one': async (t, { call }) => {
      const { json: x } = await call('POST', '/api/create', { a: 1, b: 2 })
      const { status, json, headers, state } = await call('PUT', '/api/update', { '@id': x['@id'], a: 3, __rerum: { generatedBy: 'mine' }, _id: 'mine' })
      t.equal(status, 200)
      t.not(json['@id'], x['@id'])
      t.equal(headers.location, json['@id'])
      t.match(json, { a: 3, __rerum: { generatedBy: ALICE, history: { previous: x['@id'], prime: x['@id'] } } })
      t.notOk('b' in json || '_id' in json)
      t.same(state, json)
    },
    'unknown 404, deleted 403, without @id 400': async (t, { call }) => {
      const { json: x } = await call('POST', '/api/create', { a: 1 })
      await call('DELETE', `/api/delete/${idOf(x)}`)
      t.equal((await call('PUT', '/api/update', { '@id': x['@id'], a: 1 })).status, 403)
      t.equal((await call('PUT', '/api/update', { '@id': 'http://store.test/v1/id/507f1f77bcf86cd799439011', a: 1 })).status, 404)
      t.equal((await call('PUT', '/api/update', { a: 1 })).status, 400)
    },
    'of an object of elsewhere: imported as a root': async (t, { call }) =>
      t.match(await call('PUT', '/api/update', { '@id': 'https://elsewhere.org/7', a: 1 }), { status: 200, json: { __rerum: { history: { prime: 'root', previous: 'https://elsewhere.org/7' } } } })
  },
  'Bulk Update': {
    'the new versions, without what is missing or deleted': async (t, { call }) => {
      const { json: [x, y] } = await call('POST', '/api/bulkCreate', [{ a: 1 }, { a: 2 }])
      await call('DELETE', `/api/delete/${idOf(y)}`)
      const bodies = [{ '@id': x['@id'], a: 3 }, { '@id': y['@id'], a: 4 }, { '@id': 'https://elsewhere.org/7', a: 5 }, { '@id': 'http://store.test/v1/id/507f1f77bcf86cd799439011', a: 6 }]
      const { status, json, headers } = await call('PUT', '/api/bulkUpdate', bodies)
      t.match({ status, json }, { status: 200, json: [{ a: 3 }] })
      t.equal(json.length, 1)
      t.match(String(headers.link), json[0]['@id'])
      t.equal((await call('PUT', '/api/bulk_update.action', [bodies[0]])).json.length, 1, 'its former name')
    },
    'an item without @id: 400': async (t, { call }) => t.equal((await call('PUT', '/api/bulkUpdate', [{ a: 1 }])).status, 400)
  },
  'Patch Update, Add Properties, Remove Properties': {
    'changes what is there, adds what is not, removes': async (t, { call }) => {
      const { json: x } = await call('POST', '/api/create', { a: 1, b: 2 })
      for (const [name, body, content] of [['patch', { a: 3, b: null, c: 4 }, { a: 3 }], ['set', { a: 3, c: 4 }, { a: 1, b: 2, c: 4 }], ['unset', { a: null }, { b: 2 }]] as const) {
        const { status, json, headers, state } = await call('PATCH', `/api/${name}`, { '@id': x['@id'], ...body })
        t.equal(status, 200)
        t.equal(headers.location, json['@id'])
        t.same(state, json)
        const { '@id': id, __rerum, ...rest } = json
        t.same(rest, content, name)
        t.not(id, x['@id'])
        t.equal(__rerum.history.previous, x['@id'])
      }
    },
    'nothing to change: the object itself': async (t, { call }) => {
      const { json: x } = await call('POST', '/api/create', { a: 1 })
      for (const [name, body] of [['patch', { c: 1 }], ['set', { a: 2 }], ['unset', { c: null }]] as const) t.match(await call('PATCH', `/api/${name}`, { '@id': x['@id'], ...body }), { status: 200, json: { '@id': x['@id'] } }, name)
    }
  },
  Overwrite: {
    'in place, whichever way the version that was read is said': async (t, { call }) => {
      const { json: x } = await call('POST', '/api/create', { data: 0 })
      const first = await call('PUT', '/api/overwrite', { '@id': x['@id'], data: 1 })
      t.match(first, { status: 200, json: { '@id': x['@id'], data: 1 } })
      const version = first.json.__rerum.isOverwritten
      t.equal(first.headers['current-overwritten-version'], version)
      t.same(first.state, first.json)
      const second = await call('PUT', '/api/overwrite', { '@id': x['@id'], data: 2 }, { 'if-overwritten-version': version })
      t.equal(second.status, 200)
      t.equal((await call('PUT', '/api/overwrite', { ...second.json, data: 3 })).status, 200, 'in the body')
      t.match(await call('PUT', '/api/overwrite', { '@id': x['@id'], data: 4 }, { 'if-overwritten-version': version }), { status: 409, json: { currentVersion: { data: 3, __rerum: { isOverwritten: String } } } })
    }
  },
  'RERUM released': {
    'locks, and tells the other versions': async (t, { call, make }) => {
      const { json: a } = await call('POST', '/api/create', { n: 'a' })
      const b = await make(a, { n: 'b' })
      const { status, json, headers, state } = await call('PATCH', `/api/release/${idOf(a)}`, undefined, { slug: 'released-a', 'content-type': 'application/json' })
      t.match({ status, json }, { status: 200, json: { '@id': a['@id'], __rerum: { isReleased: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/, slug: 'released-a' } } })
      t.equal(headers.location, a['@id'])
      t.same(state, json)
      t.equal((await call('GET', `/id/${idOf(b)}`)).json.__rerum.releases.previous, a['@id'])
      t.match((await call('PATCH', '/api/release', { '@id': b['@id'] })).json.__rerum, { isReleased: String, releases: { replaces: a['@id'] } }, 'by a body that holds the @id')
      for (const method of ['PUT', 'DELETE'] as const) t.equal((await call(method, method === 'PUT' ? '/api/overwrite' : `/api/delete/${idOf(a)}`, method === 'PUT' ? { '@id': a['@id'], n: 'c' } : undefined)).status, 403)
      t.equal((await call('PATCH', '/api/release/507f1f77bcf86cd799439011')).status, 404)
      const { json: c } = await call('POST', '/api/create', { n: 'c' })
      t.equal((await call('PATCH', `/api/release/${idOf(c)}`, undefined, { slug: 'released-a' })).status, 409)
    }
  },
  'DELETE, __deleted': {
    'a tombstone with who, when and what it was; no query finds it': async (t, { call }) => {
      const { json: x } = await call('POST', '/api/create', { label: 'to be deleted' })
      const before = (await call('GET', `/id/${idOf(x)}`)).json
      t.match(await call('DELETE', `/api/delete/${idOf(x)}`, undefined, { 'content-type': 'application/json' }), { status: 204, text: '' })
      const { json } = await call('GET', `/id/${idOf(x)}`)
      t.match(json, { '@id': x['@id'], __deleted: { deletor: ALICE, time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/ } })
      t.same(json.__deleted.object, before)
      t.same((await call('POST', '/api/query', { label: 'to be deleted' })).json, [])
      t.same((await call('POST', '/api/search', { searchText: 'deleted' })).json, [])
    },
    'by a body that holds the @id, or is it': async (t, { app, call }) => {
      const { json: [x, y] } = await call('POST', '/api/bulkCreate', [{ a: 1 }, { a: 2 }])
      t.equal((await call('DELETE', '/api/delete', { '@id': x['@id'] })).status, 204)
      t.equal((await send(app, 'DELETE', '/api/delete', JSON.stringify(y['@id']), { 'content-type': 'application/json' })).status, 204)
      t.equal((await call('DELETE', '/api/delete/507f1f77bcf86cd799439011')).status, 404)
    }
  },
  '__rerum, and generator attribution': {
    'all of its properties': async (t, { call }) => {
      const { json: x } = await call('POST', '/api/create', { a: 1 })
      t.match(x.__rerum, { '@context': /context\.json$/, alpha: true, APIversion: '1.0.0', createdAt: /^\d{4}-/, isOverwritten: '', isReleased: '', history: { prime: 'root', previous: '', next: [] }, releases: { previous: '', next: [], replaces: '' }, generatedBy: ALICE, slug: '' })
    },
    'only its generator overwrites, releases and deletes; anybody updates': async (t, { call, bob }) => {
      const { json: x } = await call('POST', '/api/create', { a: 1 })
      for (const [method, path, body] of [['PUT', '/api/overwrite', { '@id': x['@id'], a: 2 }], ['PATCH', `/api/release/${idOf(x)}`, undefined], ['DELETE', `/api/delete/${idOf(x)}`, undefined]] as const) t.equal((await bob(method, path, body)).status, 401, path)
      t.match((await bob('PUT', '/api/update', { '@id': x['@id'], a: 2 })).json.__rerum, { generatedBy: BOB, history: { previous: x['@id'] } })
    }
  },
  Authentication: {
    'reads need none, writes do': async (t, { app }) => {
      t.equal((await app.inject({ method: 'POST', url: '/v1/api/query', payload: { a: 1 } })).statusCode, 200)
      t.match(await app.inject({ url: '/client/verify', headers: { authorization: `Bearer ${tokenFor(ALICE)}` } }), { statusCode: 200, headers: { 'content-type': /^text\/plain/ } })
      t.equal((await app.inject('/client/verify')).statusCode, 401)
      for (const name of ['create', 'bulkCreate']) t.match(await app.inject({ method: 'POST', url: `/v1/api/${name}`, payload: {} }), { statusCode: 401, headers: { 'www-authenticate': /Bearer/ } })
    }
  },
  '@context, IIIF': {
    'without a context a Link gives one, and the terms of __rerum are there': async (t, { app, call }) => {
      const { headers } = await call('POST', '/api/create', { a: 1 })
      const link = linksOf(headers.link)[CONTEXT_REL]!
      t.equal(link, 'http://store.test/v1/context.json')
      t.match((await app.inject(new URL(link).pathname)).json(), { '@context': { __rerum: Object } })
      t.notOk(linksOf((await call('POST', '/api/create', { '@context': 'http://example.org/c.json', a: 1 })).headers.link)[CONTEXT_REL])
    },
    'id where the context says id, @id elsewhere': async (t, { call }) => {
      const { json: mapped } = await call('POST', '/api/create', { '@context': 'http://iiif.io/api/presentation/3/context.json', test: 'item' })
      t.match(mapped, { id: /\/v1\/id\//, test: 'item' })
      t.notOk('@id' in mapped || '_id' in mapped)
      t.same((await call('POST', '/api/query', { id: mapped.id })).json, [mapped], 'in filters too')
      const { json: plain } = await call('POST', '/api/create', { '@context': 'http://example.org/context.json', id: 'test_example', test: 'item' })
      t.match(plain, { '@id': /\/v1\/id\//, id: 'test_example', test: 'item' })
    },
    'a list as an AnnotationPage, where the client asks for it': async (t, { call }) => {
      const anno = { type: 'Annotation', target: 'https://example.org/canvas/page', body: { type: 'TextualBody', value: 'x' } }
      await call('POST', '/api/bulkCreate', [{ '@context': 'http://www.w3.org/ns/anno.jsonld', ...anno }, anno, { ...anno, type: 'Other' }, { ...anno, '@type': 'oa:Annotation' }])
      for (const profile of ['http://iiif.io/api/presentation/3/context.json', 'http://www.w3.org/ns/anno.jsonld']) {
        const { json, headers } = await call('POST', '/api/query?limit=3', { target: anno.target }, { accept: `application/ld+json;profile="${profile}", application/json;q=0.5` })
        t.match(headers, { 'content-type': `application/ld+json; charset=utf-8; profile="${profile}"`, vary: /Accept/ })
        t.match(json, { '@context': profile, type: 'AnnotationPage', id: /^http:\/\/store\.test\/v1\/api\/query\?/, next: linksOf(headers.link).next })
        t.equal(json.items.length, 2, 'annotations alone')
        t.ok(json.items.every((item: object) => 'id' in item && !('@id' in item) && !('@context' in item)))
      }
      const odd = { type: 'Annotation', target: 'https://example.org/canvas/odd', 1: 'a number as a name' }
      const long = { type: 'Annotation', target: odd.target, body: { value: 'é\u{1f98a}'.repeat(50_000) } }
      await call('POST', '/api/bulkCreate', [{ '@context': 'http://www.w3.org/ns/anno.jsonld', ...odd }, { ...odd, '@context': ['http://example.org/c.json'] }, odd, long, { '@context': 'http://www.w3.org/ns/anno.jsonld', ...long }])
      const page = await call('POST', '/api/query', { target: odd.target }, { accept: 'application/ld+json;profile="http://www.w3.org/ns/anno.jsonld"' })
      t.match(page.json.items, [...Array.from({ length: 3 }, () => ({ id: /\/v1\/id\//, 1: odd[1] })), ...Array.from({ length: 2 }, () => ({ id: /\/v1\/id\//, body: long.body }))], 'of any names and any length')
      t.ok(page.json.items.every((item: object) => !('@context' in item)))
      t.equal(Number(page.headers['content-length']), Buffer.byteLength(page.text))
      const array = await call('POST', '/api/query', { target: anno.target }, { accept: 'application/ld+json;profile="http://www.w3.org/ns/anno.jsonld";q=0.1, application/json' })
      t.ok(Array.isArray(array.json))
    }
  },
  'Web Annotation': {
    'one annotation is read as the protocol has it': async (t, { app, call }) => {
      const { json: x } = await call('POST', '/api/create', { '@context': 'http://www.w3.org/ns/anno.jsonld', type: 'Annotation', target: 'https://example.org/1' })
      const path = new URL(x.id).pathname.replace('/v1', '')
      for (const method of ['GET', 'HEAD'] as const) {
        const { status, headers } = await call(method, path)
        t.equal(status, 200)
        t.match(headers, { 'content-type': /^application\/ld\+json;.*profile="http:\/\/www\.w3\.org\/ns\/anno\.jsonld"/, etag: /^"/, vary: /Accept/ })
        for (const allowed of ['GET', 'HEAD', 'OPTIONS']) t.ok(String(headers.allow).split(', ').includes(allowed), allowed)
        t.equal(linksOf(headers.link).type, 'http://www.w3.org/ns/ldp#Resource')
      }
      t.match(await send(app, 'OPTIONS', path), { status: 204, headers: { allow: 'GET, HEAD, OPTIONS' } })
      t.match((await call('GET', path, undefined, { accept: 'application/json' })).headers, { 'content-type': /^application\/json/ })
      t.match((await call('GET', path, undefined, { accept: 'text/html, */*;q=0.8' })).headers, { 'content-type': /^application\/ld\+json/ })
    }
  },
  'Search, and by phrase': {
    'a text or an object with a text, nothing else': async (t, { app, call }) => {
      const { json: x } = await call('POST', '/api/create', { text: 'matching content of the first kind' })
      for (const path of ['/api/search', '/api/search/phrase']) {
        t.equal((await send(app, 'POST', path, '', TEXT)).status, 400)
        t.match((await send(app, 'POST', path, 'matching content', TEXT)).json, [{ '@id': x['@id'] }])
        for (const body of [{ text: 'line' }, { searchText: 5 }, { searchText: ['line'] }]) t.equal((await call('POST', path, body)).status, 400, JSON.stringify(body))
        for (const options of ['x', ['x'], 5]) t.equal((await call('POST', path, { searchText: 'a line', options })).status, 400, JSON.stringify(options))
        t.match((await call('POST', path, { searchText: 'matching', options: null })).json, [{ '@id': x['@id'] }])
        t.match((await call('POST', path, { searchText: 'matching', options: { query: '', path: 'x', fuzzy: {} } })).json, [{ '@id': x['@id'] }], 'options never replace the text')
      }
    },
    'each object once, best first, of either vocabulary': async (t, { call }) => {
      await call('POST', '/api/bulkCreate', [
        { body: { value: 'vellum and ink and gold' } }, { bodyValue: 'vellum' }, { resource: { chars: 'old vellum' } }, { resource: { 'cnt:chars': 'a leaf of old vellum' } },
        { items: [{ annotations: [{ items: [{ body: { value: 'of vellum, and again vellum, in a manifest' } }] }] }] }
      ])
      const { json } = await call('POST', '/api/search', { searchText: 'Vellum' })
      t.equal(json.length, 5)
      const scores = json.map((one: any) => one.__rerum.score)
      t.same(scores, [...scores].sort((a, b) => b - a))
      t.match(json[0], { bodyValue: 'vellum' })
    },
    'a phrase has its words near each other': async (t, { call }) => {
      const texts = ['Bryan Haberberger', 'Bryan the Haberberger', 'Bryan A. the Haberberger', 'Haberberger, Bryan', 'Bryan loves to eat hamburgers with Haberberger']
      await call('POST', '/api/bulkCreate', [...texts.map((text) => ({ text })), { one: 'Bryan', other: 'Haberberger' }])
      const found = async (searchText: string, options?: object) => (await call('POST', '/api/search/phrase', { searchText, options })).json.map(({ text }: { text: string }) => text).sort()
      t.same(await found('bryan haberberger'), texts.slice(0, 4).sort(), 'two places apart, or in each other\'s place')
      t.same(await found('bryan haberberger', { slop: 0 }), texts.slice(0, 1))
      t.same(await found('bryan haberberger', { slop: 5 }), [...texts].sort())
      t.equal((await call('POST', '/api/search', { searchText: 'Bryan Haberberger' })).json.length, 6, 'a search by words finds them anywhere')
      await call('POST', '/api/bulkCreate', [{ text: 'the more the merrier' }, { text: 'the merrier more' }, { text: '名前はまだ無い' }])
      t.same(await found('the more the merrier', { slop: 0 }), ['the more the merrier'])
      t.same(await found('名前 まだ'), ['名前はまだ無い'])
    }
  },
  'Media types': {
    'JSON and JSON-LD, with parameters and in any case; text for a search': async (t, { app }) => {
      const taken = ['application/json', 'application/ld+json', 'application/json; charset=utf-8', 'application/ld+json; charset=utf-8', 'application/json; a="b,c"; xy=z', 'Application/JSON']
      for (const type of taken) t.equal((await send(app, 'POST', '/api/query', '{"test":"x"}', { 'content-type': type })).status, 200, type)
      for (const type of taken) t.equal((await send(app, 'POST', '/api/search', '{"searchText":"x"}', { 'content-type': type })).status, 200, type)
      for (const type of ['text/plain', 'text/plain; a="b,c"']) t.equal((await send(app, 'POST', '/api/search', 'x', { 'content-type': type })).status, 200, type)
    },
    'none, another one, several, or what is no media type: 415': async (t, { app }) => {
      const refused = ['application/json;', 'application/json text/plain', 'application/json, text/plain', 'application/json; charset=utf-8, text/plain', 'application/json; text/plain',
        'application/json; charset=utf-8; text/plain', 'application/json; a=b; c=d text/plain', 'text/plain; application/json']
      for (const path of ['/api/query', '/api/search', '/api/create']) {
        for (const type of refused) t.match(await send(app, 'POST', path, '{"searchText":"x"}', { 'content-type': type }), { status: 415, text: 'Multiple Content-Type values are not allowed' }, `${path} ${type}`)
        t.match(await send(app, 'POST', path, '{"searchText":"x"}'), { status: 415, text: 'Missing or empty Content-Type header' }, `${path} none`)
        t.match(await send(app, 'POST', path, '<root/>', { 'content-type': 'application/xml' }), { status: 415, text: 'Unsupported Content-Type' }, `${path} XML`)
      }
      t.equal((await send(app, 'POST', '/api/query', 'x', TEXT)).status, 415)
      t.match(await send(app, 'POST', '/api/query', '{"test":"x"}', { 'content-type': 'application/json', 'content-encoding': 'gzip' }), { status: 415, text: 'Unsupported Content-Encoding' })
    }
  },
  'Methods, and where to begin': {
    '405 with Allow at every address': async (t, { call }) => {
      const addresses = ['create', 'bulkCreate', 'update', 'bulkUpdate', 'overwrite', 'search', 'search/phrase', 'query', 'set', 'unset', 'patch', 'release/x', 'delete/x'].map((name) => `/api/${name}`)
      for (const path of [...addresses, '/id/x', '/history/x', '/since/x']) {
        const method = path.startsWith('/api') ? 'GET' : 'DELETE'
        t.match(await call(method, path), { status: 405, headers: { allow: /OPTIONS/ } }, path)
      }
    },
    'the endpoints by name, their description, a page for people': async (t, { app, call }) => {
      const { json } = await call('GET', '/api')
      for (const name of ['create', 'bulkCreate', 'update', 'bulkUpdate', 'patch', 'set', 'unset', 'query', 'search', 'overwrite']) t.type(json.endpoints[`/${name}`], 'string', name)
      t.match(await app.inject('/'), { statusCode: 200, headers: { 'content-type': /^text\/html/ } })
      const { json: api } = await call('GET', '/openapi.json')
      t.match(api, { openapi: '3.1.0', paths: { '/v1/id/{id}': { get: { responses: { 200: {}, '4XX': {} } } }, '/v1/api/search/phrase': { post: { requestBody: {} } } } })
    }
  }
}

t.test('what rerum_server_nodejs documents', async (t) => {
  const app = await store(t)
  const call = caller(app)
  const tools: Tools = { app, call, bob: caller(app, BOB), make: async (parent, body) => (await call('PUT', '/api/update', { '@id': parent['@id'], ...body })).json }
  for (const [section, rows] of Object.entries(SECTIONS)) {
    for (const [row, check] of Object.entries(rows)) await t.test(`${section}: ${row}`, async (t) => { await check(t, tools) })
  }
})
