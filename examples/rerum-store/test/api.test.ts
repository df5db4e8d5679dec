import { setImmediate } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import { BSON, Collection } from 'mongodb'
import t from 'tap'
import { serversEnv, waitFor } from '../../../test/helpers/index.ts'
import { isMatched } from '../src/http/answer.ts'
import { openDatabase } from '../src/store/database.ts'
import type { Living } from '../src/store/document.ts'
import { entryOfAll, jsonOf } from '../src/store/entry.ts'
import { Maker } from '../src/store/make.ts'
import { Parts } from '../src/store/parts.ts'
import { ALICE, BOB, caller, idOf, store, tokenFor } from './helper.ts'

t.setTimeout(180_000)

t.test('create, read, update, and the versions that come of it', async (t) => {
  const call = caller(await store(t))
  const created = await call('POST', '/api/create', { type: 'Note', text: 'one' })
  t.equal(created.status, 201)
  const x = created.json
  t.equal(created.headers.location, x['@id'])
  t.match(x['@id'], /^http:\/\/store\.test\/v1\/id\/[0-9a-f]{24}$/)
  t.match(x, {
    type: 'Note',
    text: 'one',
    __rerum: { generatedBy: ALICE, isOverwritten: '', isReleased: '', slug: '', history: { prime: 'root', previous: '', next: [] }, releases: { previous: '', next: [], replaces: '' } }
  })

  const read = await call('GET', `/id/${idOf(x)}`)
  t.equal(read.status, 200)
  t.same(read.json, x)
  t.match(read.headers, { location: x['@id'], 'cache-control': 'no-cache', 'current-overwritten-version': '', 'x-cache': String, 'x-worker': '025:0', link: 'rel="http://www.w3.org/ns/json-ld#context"' })
  t.equal((await call('GET', `/id/${idOf(x)}`, undefined, { 'if-none-match': String(read.headers.etag) })).status, 304)
  const head = await call('HEAD', `/id/${idOf(x)}`)
  t.equal(head.status, 200)
  t.equal(head.text, '')
  t.equal(head.headers['content-length'], String(Buffer.byteLength(read.text)))
  const { json: large } = await call('POST', '/api/create', { text: 'é\u{1f98a}'.repeat(120_000) })
  const [whole, lengthOf] = [await call('GET', `/id/${idOf(large)}`), await call('HEAD', `/id/${idOf(large)}`)]
  t.ok(whole.text === JSON.stringify(large), 'a long one too')
  t.same([whole, lengthOf].map(({ headers }) => Number(headers['content-length'])), [Buffer.byteLength(whole.text), Buffer.byteLength(whole.text)])

  const y = (await call('PUT', '/api/update', { '@id': x['@id'], type: 'Note', text: 'two' })).json
  const z = (await call('PATCH', '/api/patch', { '@id': y['@id'], text: 'three', unknown: 1 })).json
  const w = (await call('PATCH', '/api/set', { '@id': y['@id'], text: 'kept', more: true })).json
  t.match(z, { type: 'Note', text: 'three', __rerum: { history: { prime: x['@id'], previous: y['@id'], next: [] } } })
  t.notOk('unknown' in z)
  t.match(w, { text: 'two', more: true })
  const { json: u } = await call('PATCH', '/api/unset', { '@id': w['@id'], more: null })
  t.notOk('more' in u)
  t.same((await call('GET', `/id/${idOf(x)}`)).json.__rerum.history.next, [y['@id']])
  const ids = async (path: string) => (await call('GET', path)).json.map((one: { '@id': string }) => one['@id'])
  t.same(await ids(`/since/${idOf(x)}`), [y, z, w, u].map((one) => one['@id']), 'each before what was made from it')
  t.same(await ids(`/history/${idOf(u)}`), [w, y, x].map((one) => one['@id']), 'nearest first')
  t.same(await ids(`/history/${idOf(x)}`), [])
  t.equal((await call('HEAD', `/history/${idOf(u)}`)).status, 200)
  t.equal((await call('HEAD', `/since/${idOf(u)}`)).status, 200)

  for (const [name, body] of [['patch', { text: 'three' }], ['set', { text: 'x' }], ['unset', { other: null }]] as const) {
    const same = await call('PATCH', `/api/${name}`, { '@id': z['@id'], ...body })
    t.equal(same.status, 200)
    t.same(same.json, z, `${name} of nothing returns the original`)
  }
})

t.test('an object of elsewhere becomes a root here', async (t) => {
  const call = caller(await store(t))
  const { status, json } = await call('PUT', '/api/update', { '@id': 'https://elsewhere.org/objects/7', text: 'far' })
  t.equal(status, 200)
  t.match(json, { text: 'far', __rerum: { history: { prime: 'root', previous: 'https://elsewhere.org/objects/7' } } })
  t.same((await call('GET', `/history/${idOf(json)}`)).json, [])
  for (const name of ['patch', 'set', 'unset']) t.equal((await call('PATCH', `/api/${name}`, { '@id': 'https://elsewhere.org/objects/7', a: 1 })).status, 404)
  t.equal((await call('PUT', '/api/overwrite', { '@id': 'https://elsewhere.org/objects/7', a: 1 })).status, 404)
})

t.test('overwrite replaces in place, and only the version that it names', async (t) => {
  const app = await store(t)
  const call = caller(app)
  const { json: x } = await call('POST', '/api/create', { count: 0 })
  const first = await call('PUT', '/api/overwrite', { '@id': x['@id'], count: 1 }, { 'if-overwritten-version': '' })
  t.equal(first.status, 200)
  const version = first.json.__rerum.isOverwritten
  t.equal(first.headers['current-overwritten-version'], version)
  t.equal((await call('GET', `/id/${idOf(x)}`)).headers['current-overwritten-version'], version)
  const late = await call('PUT', '/api/overwrite', { '@id': x['@id'], count: 99 }, { 'if-overwritten-version': '' })
  t.equal(late.status, 409)
  t.match(late.json, { success: false, code: 'FST_ERR_RERUM_VERSION', statusCode: 409 })
  t.same(late.json.currentVersion, (await call('GET', `/id/${idOf(x)}`)).json, 'the object as it is now, as clients read it')
  t.equal(late.headers['current-overwritten-version'], version)
  t.equal((await call('PUT', '/api/overwrite', { '@id': x['@id'], count: 2 }, { 'if-overwritten-version': version })).status, 200)
  t.equal((await call('PUT', '/api/overwrite', { '@id': x['@id'], count: 3 })).json.count, 3, 'without a version, whatever is there')

  t.equal((await caller(app, BOB)('PUT', '/api/overwrite', { '@id': x['@id'] })).status, 401)
  const { json: gone } = await call('POST', '/api/create', { a: 1 })
  t.equal((await call('DELETE', `/api/delete/${idOf(gone)}`)).status, 204)
  t.equal((await call('PUT', '/api/overwrite', { '@id': gone['@id'] })).status, 403)

  const before = (await call('GET', `/id/${idOf(x)}`)).json.__rerum.isOverwritten
  const raced = await Promise.all([1, 2, 3, 4, 5].map((count) => call('PUT', '/api/overwrite', { '@id': x['@id'], count }, { 'if-overwritten-version': before })))
  t.same(raced.map(({ status }) => status).sort(), [200, 409, 409, 409, 409], 'one of five writers of the same version wins')
})

t.test('of two overwrites of what was read the second is refused, whichever way it says what was read', async (t) => {
  const call = caller(await store(t))
  const { json: x } = await call('POST', '/api/create', { count: 0 })
  const read = await call('GET', `/id/${idOf(x)}`)
  const tag = String(read.headers.etag)
  t.equal((await call('PUT', '/api/overwrite', { ...read.json, count: 1 }, { 'if-match': tag })).status, 200)
  t.match(await call('PUT', '/api/overwrite', { ...read.json, count: 2 }), { status: 409, json: { code: 'FST_ERR_RERUM_VERSION', currentVersion: { count: 1 } } }, 'in the body')
  t.match(await call('PUT', '/api/overwrite', { '@id': x['@id'], count: 2 }, { 'if-match': tag }), { status: 412, json: { code: 'FST_ERR_RERUM_PRECONDITION', currentVersion: { count: 1 } } }, 'as If-Match')
  const now = await call('GET', `/id/${idOf(x)}`)
  t.equal((await call('PUT', '/api/overwrite', { ...now.json, count: 2 }, { 'if-match': `"other", W/${String(now.headers.etag)}` })).status, 200)
  t.equal((await call('PUT', '/api/overwrite', { '@id': x['@id'], count: 3 }, { 'if-match': '*' })).status, 200)
})

t.test('every write of one object is made only to what its conditions name', async (t) => {
  const call = caller(await store(t))
  const writes: Array<[method: 'PUT' | 'PATCH' | 'DELETE', path: string, change: object]> = [
    ['PUT', '/api/update', { count: 2 }], ['PATCH', '/api/patch', { count: 2 }], ['PATCH', '/api/set', { more: 2 }], ['PATCH', '/api/unset', { count: null }],
    ['PUT', '/api/overwrite', { count: 2 }], ['PATCH', '/api/release', {}], ['DELETE', '/api/delete', {}]
  ]
  const early = new Date(Date.now() - 60_000).toUTCString()
  for (const [method, path, change] of writes) {
    const { json: x } = await call('POST', '/api/create', { count: 0 })
    const body = { '@id': x['@id'], ...change }
    const old = String((await call('GET', `/id/${idOf(x)}`)).headers.etag)
    t.equal((await call('PUT', '/api/overwrite', { '@id': x['@id'], count: 1 })).status, 200)
    const read = await call('GET', `/id/${idOf(x)}`)
    t.match(await call(method, path, body, { 'if-match': old }), { status: 412, json: { code: 'FST_ERR_RERUM_PRECONDITION', currentVersion: { count: 1 } } }, `${path} If-Match`)
    t.match(await call(method, path, body, { 'if-unmodified-since': early }), { status: 412, json: { currentVersion: { count: 1 } } }, `${path} If-Unmodified-Since`)
    t.same((await call('GET', `/id/${idOf(x)}`)).json, read.json, `${path}: nothing was written`)
    t.ok([200, 204].includes((await call(method, path, body, { 'if-match': String(read.headers.etag), 'if-unmodified-since': early })).status), `${path}: If-Match alone counts`)
  }
  const foreign = { '@id': 'https://elsewhere.test/1', a: 1 }
  t.equal((await call('PUT', '/api/update', foreign, { 'if-match': '*' })).status, 412, 'what is not here is nothing that it could name')
  t.equal((await call('PUT', '/api/update', foreign, { 'if-unmodified-since': 'some day' })).status, 200, 'what is no time is no condition')
})

t.test('a tag is known as proxies that compress hand it on', async (t) => {
  const call = caller(await store(t))
  for (const handedOn of [(tag: string) => `W/${tag}`, ...['-gzip', '-br', '-zstd', '--gzip', ';gzip'].map((more) => (tag: string) => tag.replace(/"$/, `${more}"`)), (tag: string) => `W/${tag.replace(/"$/, '-gzip"')}`, (tag: string) => `"other", ${tag}`]) {
    const { json: x, headers } = await call('POST', '/api/create', { text: 'one' })
    const tag = handedOn(String(headers.etag))
    t.match(await call('GET', `/id/${idOf(x)}`, undefined, { 'if-none-match': tag }), { status: 304, headers: { etag: headers.etag } }, tag)
    t.match(await call('PUT', '/api/overwrite', { ...x, text: 'two' }, { 'if-match': tag }), { status: 200 }, tag)
    t.match(await call('PUT', '/api/overwrite', { '@id': x['@id'], text: 'three' }, { 'if-match': tag }), { status: 412 }, 'of what was there before')
  }
  const { json: x, headers } = await call('POST', '/api/create', { text: 'one' })
  for (const tag of [String(headers.etag).replace(/"$/, '-x"'), String(headers.etag).replace(/^"./, '"'), '"-gzip"', '""', 'W/', 'gzip']) t.equal((await call('PATCH', '/api/set', { '@id': x['@id'], more: 1 }, { 'if-match': tag })).status, 412, tag)
})

t.test('a tag that happens to end as one that a proxy hands on is known too', async (t) => {
  const made = (n: number) => ({ '@id': `http://store.test/v1/id/${n}`, __rerum: { isOverwritten: '' } }) as unknown as Living
  // The first whose tag does, of some 260,000.
  const n = 145_309
  const { etag } = jsonOf(made(n))
  t.match(etag, /-br"$/)
  for (const tag of [etag, `W/${etag}`, etag.replace(/"$/, '-gzip"'), `W/${etag.replace(/"$/, '-br"')}`]) t.ok(isMatched(tag, made(n)), tag)
  t.notOk(isMatched(etag, made(n + 1)))
})

t.test('long answers are kept in parts: by another process they are read whole, and where a part was dropped they are made anew', async (t) => {
  const env = await serversEnv(t)
  const first = await store(t, env)
  const call = caller(first)
  for (let n = 0; n < 2; n++) await call('POST', '/api/bulkCreate', Array.from({ length: 50 }, (_, i) => ({ kind: 'long', n: n * 50 + i, text: 'é\u{1f98a}'.repeat(3000) })))
  const { json: large } = await call('POST', '/api/create', { kind: 'large', text: 'é\u{1f98a}'.repeat(200_000) })
  const reads: Array<[method: 'GET' | 'POST', path: string, body?: object]> = [['POST', '/api/query', { kind: 'long' }], ['GET', `/id/${idOf(large)}`]]
  await waitFor(() => first.configCache.mode === 'coherent')
  const made = await Promise.all(reads.map((read) => call(...read)))
  t.equal(made[0]!.json.length, 100)
  t.ok(made[0]!.text.length > 500_000)
  t.same(made[1]!.json, large)
  const cached = async (app: FastifyInstance, outcome: string, about: string): Promise<void> => {
    for (const [n, read] of reads.entries()) {
      const answer = await caller(app)(...read)
      t.match(answer.headers, { 'x-cache': outcome, etag: made[n]!.headers.etag, 'content-length': made[n]!.headers['content-length'] }, `${about}: ${read[1]}`)
      t.ok(answer.text === made[n]!.text, `${about}: ${read[1]}`)
    }
  }
  await cached(first, 'HIT', 'in this process')
  const second = await store(t, { ...env, SERVER_ID: '026' })
  await waitFor(() => second.configCache.mode === 'coherent')
  await cached(second, 'HIT', 'of Redis')
  const third = await store(t, { ...env, SERVER_ID: '027' })
  await waitFor(() => third.configCache.mode === 'coherent')
  const redis = first.redisLink.client as Redis
  const parts = await redis.keys(`*${env.SITE_ID}*part:*`)
  t.ok(parts.length > 8, `${parts.length} parts`)
  await redis.del(...parts)
  await cached(third, 'MISS', 'without its parts')
  await cached(third, 'HIT', 'made anew')

  // A page is kept while another request of it looks for its parts; and many requests that miss one ask the database once or twice.
  const fourth = await store(t, { ...env, SERVER_ID: '028' })
  await waitFor(() => fourth.configCache.mode === 'coherent')
  await redis.del(...await redis.keys(`*${env.SITE_ID}*part:*`))
  const { find } = Collection.prototype
  t.teardown(() => { Object.assign(Collection.prototype, { find }) })
  let questions = 0
  Collection.prototype.find = function (this: Collection, ...args: Parameters<typeof find>) { questions++; return find.apply(this, args) } as typeof find
  const answers = await Promise.all(Array.from({ length: 20 }, async (_, n) => {
    for (let turns = 0; turns < n % 5; turns++) await setImmediate()
    return Promise.all(reads.map((read) => caller(fourth)(...read)))
  }))
  for (const [n, { text }] of made.entries()) t.strictSame(new Set(answers.map((one) => `${one[n]!.status} ${one[n]!.text === text ? 'whole' : one[n]!.text.slice(0, 200)}`)), new Set(['200 whole']), `at the same time: ${reads[n]![1]}`)
  t.ok(questions <= 24, `${questions} questions of 40 requests`)
})

t.test('an object without an identity of its own gets one, however its client says that it has none', async (t) => {
  const call = caller(await store(t))
  for (const id of [undefined, null, '']) {
    t.equal((await call('POST', '/api/create', { '@id': id, a: 1 })).status, 201)
    t.equal((await call('POST', '/api/create', { '@context': 'http://www.w3.org/ns/anno.jsonld', id, a: 1 })).status, 201)
    t.equal((await call('POST', '/api/bulkCreate', [{ '@id': id, a: 1 }])).status, 201)
  }
  const { json: x } = await call('POST', '/api/create', { a: 1 })
  for (const path of [`/id/${idOf(x)}/`, `//id//${idOf(x)}`]) t.same((await call('GET', path)).json, x, path)
})

t.test('the address of an object is written in several ways, and names one object', async (t) => {
  const call = caller(await store(t))
  const { json: x } = await call('POST', '/api/create', { count: 0 })
  const id = idOf(x)
  for (const address of [`http://store.test/v1/id/${id}/`, `http://store.test/v1/id/${id}#part`, `http://STORE.test/v1/id/${id}`, `https://store.test/v1/id/${id}`, `http://store.test:80/v1/id/${id}`, `http://store.test//v1//id/${id}`, `http://store.test./v1/id/${id}`, ` http://store.test/v1/x/../id/${id}`]) {
    t.match((await call('PUT', '/api/update', { '@id': address, count: 1 })).json, { __rerum: { history: { previous: x['@id'] } } }, address)
  }
  for (const address of ['http://store.test/v1/id/', 'http://store.test/v1/id/a b', `http://store.test/v1/id/${id}/x`, `http://store.test/v1/id/${id}?x`, `http://store.test/v1/id/${id.toUpperCase()}`, `http://store.test/v1/history/${id}`, 'http://store.test/v1', `http://store.test/v1/id/%61${id.slice(1)}x`]) {
    t.match(await call('PUT', '/api/update', { '@id': address, count: 1 }), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_ID' } }, address)
  }
  t.match((await call('PUT', '/api/update', { '@id': { id }, count: 1 })).json, { code: 'FST_ERR_RERUM_INVALID_ID', error: id }, 'what is no text is shown as it is')
  t.match((await call('PUT', '/api/update', { '@id': `http://elsewhere.test/v1/id/${id}`, count: 1 })).json, { __rerum: { history: { prime: 'root' } } })
  const other = `https://STORE.test/v1/id/${id}/#part`
  for (const filter of [{ '@id': other }, { '@id': { $eq: other } }, { '@id': { $in: ['http://elsewhere.test/1', other] } }, { id: other }, { _id: id }, { _id: { $in: [id] } }]) t.same((await call('POST', '/api/query', filter)).json.map(idOf), [id], JSON.stringify(filter))
  t.same((await call('POST', '/api/query', { '@id': { $ne: other }, count: 0 })).json, [])
})

t.test('the address of an object is written in several ways within a filter as well', async (t) => {
  const call = caller(await store(t))
  const [x, y] = (await call('POST', '/api/bulkCreate', [{ n: 1 }, { n: 2 }])).json
  const [other, id] = [`https://STORE.test/v1/id/${idOf(x)}/#part`, idOf(x)]
  const query = async (filter: object) => (await call('POST', '/api/query', filter)).json
  for (const filter of [
    { $or: [{ '@id': other }, { n: 3 }] }, { $and: [{ '@id': other }] }, { $and: [{ $or: [{ '@id': { $in: [other] } }] }] }, { $or: [{ _id: id }] }, { $or: [{ id: other }] }, { n: 1, $and: [{ _id: id }] }, { _id: id, $and: [{ '@id': other }] },
    { $nor: [{ '@id': { $ne: other } }] }, { '@id': { $not: { $ne: other } } }, { '@id': { $not: { $not: { $eq: other } } } }
  ]) t.same((await query(filter)).map(idOf), [id], JSON.stringify(filter))
  for (const filter of [{ $nor: [{ '@id': other }] }, { $nor: [{ _id: id }] }, { '@id': { $not: { $eq: other } } }, { $and: [{ '@id': { $nin: [other] } }, { n: { $exists: true } }] }]) t.same((await query(filter)).map(idOf), [idOf(y)], JSON.stringify(filter))
  for (const $and of [5, [], { '@id': other }, [5]]) t.match(await query({ _id: id, $and }), { code: 'FST_ERR_RERUM_INVALID_FILTER' }, JSON.stringify($and))
  const deep = (levels: number, filter: object): object => levels === 0 ? filter : { $or: [deep(levels - 1, filter)] }
  t.same((await query(deep(9, { '@id': other }))).map(idOf), [id])
  t.match(await query(deep(2000, { '@id': other })), { code: 'FST_ERR_RERUM_INVALID_FILTER' })
})

t.test('where the context says id, id is the identity', async (t) => {
  const call = caller(await store(t))
  for (const context of ['http://iiif.io/api/presentation/3/context.json', 'https://www.w3.org/ns/anno.jsonld', ['http://example.org/own.json', 'http://www.w3.org/ns/anno.jsonld']]) {
    const { json: x, headers } = await call('POST', '/api/create', { '@context': context, id: 'https://client.example/temporary', type: 'Manifest', label: 'one' })
    t.equal(x.id, headers.location)
    t.notOk('@id' in x)
    t.same((await call('GET', `/id/${x.id.split('/').at(-1)}`)).json, x)
    const { json: y } = await call('PUT', '/api/update', { ...x, label: 'two' })
    t.match(y, { id: /\/v1\/id\//, label: 'two', __rerum: { history: { previous: x.id } } })
    t.match((await call('PATCH', '/api/patch', { id: y.id, label: 'three' })).json, { label: 'three', __rerum: { history: { previous: y.id } } }, 'nor must it repeat the context')
    t.match((await call('PUT', '/api/overwrite', { ...y, label: 'four', __rerum: undefined })).json, { id: y.id, label: 'four' })
    t.match((await call('POST', '/api/query', { '@id': y.id })).json, [{ id: y.id, label: 'four' }])
    t.equal((await call('PUT', '/api/bulkUpdate', [{ ...y, label: 'five' }])).json[0].label, 'five')
  }
  const { json: plain } = await call('POST', '/api/create', { id: 7, text: 'its own' })
  t.match(plain, { '@id': String, id: 7 }, 'elsewhere it is a property like others')
})

t.test('words of scripts without spaces are found', async (t) => {
  const call = caller(await store(t))
  const found = async (text: string): Promise<string[]> => (await call('POST', '/api/search', { searchText: text })).json.map(({ text }: { text: string }) => text)
  const texts = ['吾輩は猫である。名前はまだ無い。', '我喜欢吃苹果', 'ฉันรักประเทศไทย', 'Straße der Nächte']
  for (const text of texts) await call('POST', '/api/create', { text })
  for (const [word, text] of [['猫', texts[0]], ['名前', texts[0]], ['苹果', texts[1]], ['ประเทศไทย', texts[2]], ['nachte', texts[3]]] as const) t.same(await found(word), [text], word)
  t.same(await found('猫 苹果'), [], 'all words')
})

t.test('pages of every origin read and save', async (t) => {
  const app = await store(t)
  const origin = 'https://viewer.example'
  for (const [method, url] of [['PUT', '/v1/api/overwrite'], ['GET', '/v1/id/x'], ['PATCH', '/v1/api/release/x']] as const) {
    const preflight = await app.inject({ method: 'OPTIONS', url, headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': 'authorization,content-type,if-match,slug' } })
    t.equal(preflight.statusCode, 204, url)
    t.equal(preflight.headers['access-control-allow-origin'], '*')
    t.match(preflight.headers['access-control-allow-methods'], method)
    for (const header of ['Authorization', 'Content-Type', 'If-Match', 'Slug']) t.match(preflight.headers['access-control-allow-headers'], header)
  }
  const call = caller(app)
  const made = await call('POST', '/api/create', { a: 1 }, { origin })
  const refused = await call('GET', '/id/unknown', undefined, { origin })
  for (const { headers } of [made, refused, await call('GET', '/nowhere', undefined, { origin })]) {
    t.equal(headers['access-control-allow-origin'], '*')
    for (const header of ['Location', 'Link', 'ETag', 'Allow']) t.match(headers['access-control-expose-headers'], header)
  }
})

t.test('without a token a body has at most 64 KB, and a search 4 KB', async (t) => {
  const app = await store(t)
  const send = (url: string, payload: string, type: string) => app.inject({ method: 'POST', url, payload, headers: { 'content-type': type } })
  t.equal((await send('/v1/api/search', 'lorem ipsum '.repeat(400_000), 'text/plain')).statusCode, 413)
  t.equal((await send('/v1/api/search', JSON.stringify({ searchText: 'x'.repeat(5000) }), 'application/json')).statusCode, 413)
  t.equal((await send('/v1/api/query', JSON.stringify({ a: Array.from({ length: 100_000 }, (_, n) => n) }), 'application/json')).statusCode, 413)
})

t.test('a content type without a body is no body', async (t) => {
  const app = await store(t)
  const call = caller(app)
  const send = (method: 'DELETE' | 'PATCH' | 'PUT', url: string) => app.inject({ method, url: `/v1${url}`, headers: { authorization: `Bearer ${tokenFor(ALICE)}`, 'content-type': 'application/json' } })
  const { json: x } = await call('POST', '/api/create', { a: 1 })
  t.equal((await send('PATCH', `/api/release/${idOf(x)}`)).statusCode, 200)
  const { json: y } = await call('POST', '/api/create', { a: 1 })
  t.equal((await send('DELETE', `/api/delete/${idOf(y)}`)).statusCode, 204)
  t.equal((await send('PUT', '/api/update')).statusCode, 400)
  t.match((await call('POST', '/api/patch', { '@id': x['@id'], a: 2 }, { 'x-http-method-override': 'PATCH' })).json, { a: 2 }, 'nor has a client that knows no PATCH to go without')
  t.equal((await call('POST', '/api/delete/x', undefined, { 'x-http-method-override': 'DELETE' })).status, 405)
})

t.test('delete leaves a tombstone, and joins what it parted', async (t) => {
  const app = await store(t)
  const call = caller(app)
  const make = async (parent: { '@id': string }, text: string) => (await call('PUT', '/api/update', { '@id': parent['@id'], text })).json
  const get = async (one: { '@id': string }) => (await call('GET', `/id/${idOf(one)}`)).json
  const { json: a } = await call('POST', '/api/create', { text: 'a' }, { slug: 'the-root' })
  const b = await make(a, 'b')
  const c = await make(b, 'c')
  const d = await make(b, 'd')
  const e = await make(c, 'e')

  t.equal((await caller(app, BOB)('DELETE', `/api/delete/${idOf(b)}`)).status, 401)
  t.equal((await call('DELETE', `/api/delete/${idOf(b)}`)).status, 204)
  t.match(await get(b), { '@id': b['@id'], __deleted: { object: { text: 'b' }, deletor: ALICE, time: /^\d{4}-/ } })
  t.notOk('__rerum' in await get(b))
  t.same((await get(a)).__rerum.history.next, [c['@id'], d['@id']])
  t.match(await get(c), { __rerum: { history: { prime: a['@id'], previous: a['@id'], next: [e['@id']] } } })
  t.same((await call('GET', `/history/${idOf(b)}`)).json, [])
  t.same((await call('GET', `/since/${idOf(b)}`)).json, [])
  for (const response of [
    await call('DELETE', `/api/delete/${idOf(b)}`), await call('PATCH', `/api/release/${idOf(b)}`), await call('PUT', '/api/update', { '@id': b['@id'] }),
    await call('PATCH', '/api/patch', { '@id': b['@id'] }), await call('PATCH', '/api/set', { '@id': b['@id'] }), await call('PATCH', '/api/unset', { '@id': b['@id'] })
  ]) t.match(response, { status: 403, json: { code: 'FST_ERR_RERUM_DELETED' } })

  t.equal((await call('DELETE', '/api/delete/the-root')).status, 204, 'by its slug')
  t.ok('__deleted' in (await call('GET', '/id/the-root')).json, 'which leads to the tombstone')
  t.match(await get(c), { __rerum: { history: { prime: 'root', previous: '', next: [e['@id']] } } })
  t.match(await get(d), { __rerum: { history: { prime: 'root', previous: '', next: [] } } })
  t.match(await get(e), { __rerum: { history: { prime: c['@id'], previous: c['@id'] } } })
})

t.test('release locks, takes a slug, and is known to its versions', async (t) => {
  const app = await store(t)
  const call = caller(app)
  const make = async (parent: { '@id': string }, text: string) => (await call('PUT', '/api/update', { '@id': parent['@id'], text })).json
  const releases = async (one: { '@id': string }) => (await call('GET', `/id/${idOf(one)}`)).json.__rerum.releases
  const { json: a } = await call('POST', '/api/create', { text: 'a' })
  const b = await make(a, 'b')
  const c = await make(b, 'c')
  t.equal((await caller(app, BOB)('PATCH', `/api/release/${idOf(a)}`)).status, 401)
  const released = await call('PATCH', `/api/release/${idOf(a)}`, undefined, { slug: 'first' })
  t.equal(released.status, 200)
  t.match(released.json.__rerum, { isReleased: /^\d{4}-/, slug: 'first', releases: { previous: '', next: [], replaces: '' } })
  t.same((await call('GET', '/id/first')).json, released.json)
  t.equal((await call('PATCH', `/api/release/${idOf(c)}`)).json.__rerum.releases.replaces, a['@id'])
  t.same(await releases(a), { previous: '', next: [c['@id']], replaces: '' })
  t.same(await releases(b), { previous: a['@id'], next: [c['@id']], replaces: '' })
  const d = await make(c, 'd')
  t.same(await releases(d), { previous: c['@id'], next: [], replaces: '' })
  for (const response of [await call('PATCH', '/api/release/first'), await call('DELETE', '/api/delete/first'), await call('PUT', '/api/overwrite', { '@id': a['@id'] })]) {
    t.match(response, { status: 403, json: { code: 'FST_ERR_RERUM_RELEASED' } })
  }
  t.equal((await make(a, 'a2')).__rerum.history.previous, a['@id'], 'a new version of a released one is allowed')
  t.match(await call('PATCH', `/api/release/${idOf(d)}`, undefined, { slug: 'first' }), { status: 409, json: { code: 'FST_ERR_RERUM_SLUG_TAKEN' } })
  t.equal((await call('GET', `/id/${idOf(d)}`)).json.__rerum.isReleased, '', 'and nothing happened')
  t.equal((await call('PATCH', '/api/release/unknown')).status, 404)
})

t.test('a slug belongs to one object, whoever comes at the same time', async (t) => {
  const call = caller(await store(t))
  t.equal((await call('GET', '/id/wanted')).status, 404)
  const answers = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => call('POST', '/api/create', { n }, { slug: 'wanted' })))
  t.same(answers.map(({ status }) => status).sort(), [201, 409, 409, 409, 409, 409])
  t.same((await call('GET', '/id/wanted')).json, answers.find(({ status }) => status === 201)!.json)
  for (const slug of ['a/b', 'a b', '-a', '507f1f77bcf86cd799439011', 'x'.repeat(101)]) {
    t.match(await call('POST', '/api/create', { a: 1 }, { slug }), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_SLUG' } })
  }
})

t.test('bulk: all are created, each is updated, and what is missing or deleted is reported', async (t) => {
  const call = caller(await store(t))
  const { status, json: made } = await call('POST', '/api/bulkCreate', [{ n: 1 }, { n: 2 }, { n: 3 }])
  t.equal(status, 201)
  t.same(made.map(({ n }: { n: number }) => n), [1, 2, 3])
  await call('DELETE', `/api/delete/${idOf(made[2])}`)
  const missing = 'http://store.test/v1/id/507f1f77bcf86cd799439011'
  const changes = [{ '@id': made[0]['@id'], n: 10 }, { '@id': missing }, { '@id': made[2]['@id'] }, { '@id': made[1]['@id'], n: 20 }]
  const updated = await call('PUT', '/api/bulkUpdate', changes)
  t.match(updated, { status: 200, json: [{ n: 10 }, { n: 20 }] })
  t.equal(updated.json.length, 2)
  t.equal(updated.headers.link, updated.json.map((one: { '@id': string }) => `<${one['@id']}>; rel="item"`).join(', '))
  t.match((await call('PUT', '/api/bulkUpdate?report=true', changes)).json, { updated: [{ n: 10 }, { n: 20 }], missing: [missing], deleted: [made[2]['@id']] })
  for (const body of [{}, [], [1], [{ '@id': missing, a: 1 }], [{}]]) t.equal((await call('POST', '/api/bulkCreate', body)).status, 400, JSON.stringify(body))
  for (const body of [{}, [], [1], [{ n: 1 }]]) t.equal((await call('PUT', '/api/bulkUpdate', body)).status, 400, JSON.stringify(body))
})

t.test('who follows the links of a query meets each object once, while others delete, overwrite and create', async (t) => {
  const call = caller(await store(t))
  const { json: made } = await call('POST', '/api/bulkCreate', Array.from({ length: 40 }, (_, n) => ({ type: 'Harvested', n })))
  const seen: number[] = []
  const gone = new Set<number>()
  let path: string | undefined = '/api/query?limit=6'
  for (let page = 0; path !== undefined && page < 20; page++) {
    const { json, headers } = await call('POST', path, { type: 'Harvested' })
    seen.push(...json.map(({ n }: { n: number }) => n).filter((n: number) => n < 40))
    // One that was seen, and one that was not, leave; skip would pass over as many of the others.
    for (const n of [page, 39 - page]) {
      await (page % 2 ? call('DELETE', `/api/delete/${idOf(made[n])}`) : call('PUT', '/api/overwrite', { '@id': made[n]['@id'], type: 'Left', n }))
      gone.add(n)
    }
    await call('POST', '/api/create', { type: 'Harvested', n: 100 + page })
    path = /<http:\/\/store\.test\/v1([^>]+)>; rel="next"/.exec(String(headers.link))?.[1]
  }
  t.equal(path, undefined, 'the walk ends')
  t.equal(new Set(seen).size, seen.length, 'none twice')
  t.same(Array.from({ length: 40 }, (_, n) => n).filter((n) => !gone.has(n) && !seen.includes(n)), [], 'none missed')
  t.match(await call('POST', '/api/query?cursor=nonsense', { type: 'Harvested' }), { status: 400, json: { code: 'FST_ERR_CURSOR_PAGINATION_INVALID_CURSOR' } })
})

t.test('a part is kept also where a reader that looks for it in vain came first', async (t) => {
  const { configCache } = await store(t)
  await waitFor(() => configCache.mode === 'coherent')
  const object = new Maker('http://store.test/v1/id/', 'http://store.test/v1/context.json').root({ text: 'x'.repeat(200_000) }, ALICE, 'op')
  const page = { entries: [entryOfAll({ ...object, json: undefined as never })], more: false, cursor: null }
  const kept = await new Parts(configCache).keep(page)
  await configCache.write({ keys: [...kept.parts!.keys] }, async () => {})
  const parts = new Parts(configCache)
  const [missed] = await Promise.all([parts.whole(kept), parts.keep(page)])
  t.equal(missed, undefined)
  t.same(await new Parts(configCache).whole(kept), page)
})

t.test('the versions of an object are read with a few questions to the database, however many they are', async (t) => {
  const app = await store(t)
  const call = caller(app)
  let { json: x } = await call('POST', '/api/create', { n: 0 })
  const first = x
  for (let n = 1; n <= 30; n++) x = (await call('PUT', '/api/update', { '@id': x['@id'], n })).json
  let questions = 0
  const { find, findOne } = Collection.prototype
  t.teardown(() => { Object.assign(Collection.prototype, { find, findOne }) })
  // findOne asks by find.
  Collection.prototype.find = function (this: Collection, ...args: Parameters<typeof find>) { questions++; return find.apply(this, args) } as typeof find
  for (const [kind, of, expected] of [['history', x, Array.from({ length: 30 }, (_, n) => 29 - n)], ['since', first, Array.from({ length: 30 }, (_, n) => n + 1)]] as const) {
    questions = 0
    const { json } = await call('GET', `/${kind}/${idOf(of)}`)
    t.same(json.map(({ n }: { n: number }) => n), expected, kind)
    t.ok(questions <= 4, `${kind}: ${questions} questions`)
  }
})

t.test('objects that an earlier release wrote, or overwrote, are shown as they are', async (t) => {
  const app = await store(t)
  const call = caller(app)
  const { objects } = openDatabase(app)
  const { json: [x, y, z] } = await call('POST', '/api/bulkCreate', [{ text: 'early x' }, { text: 'early y', '@context': 'http://www.w3.org/ns/anno.jsonld' }, { text: 'early z' }])
  await call('DELETE', `/api/delete/${idOf(z)}`)
  for (const name of ['json', 'modified', 'lines', 'wordCount']) await objects.updateMany({}, { $unset: { [name]: '' } })
  const overwritten = '2026-01-01T00:00:00.000Z'
  const { json: w } = await call('POST', '/api/create', { text: 'late' })
  await objects.updateOne({ _id: idOf(w) }, { $set: { 'object.text': 'overwritten', 'object.__rerum.isOverwritten': overwritten } })
  t.match(await call('GET', `/id/${idOf(x)}`), { status: 200, json: x, headers: { 'last-modified': /GMT$/ } })
  t.same((await call('GET', `/id/${y.id.split('/').at(-1)}`)).json, y)
  t.ok('__deleted' in (await call('GET', `/id/${idOf(z)}`)).json)
  t.match((await call('GET', `/id/${idOf(w)}`)).json, { text: 'overwritten', __rerum: { isOverwritten: overwritten } })
  t.match((await call('POST', '/api/search', { searchText: 'early x' })).json, [{ text: 'early x' }])
  t.match((await call('PUT', '/api/overwrite', { '@id': x['@id'], text: 'now x' })).json, { text: 'now x' })
  t.match((await call('POST', '/api/search/phrase', { searchText: 'now x' })).json, [{ text: 'now x' }])

  // As it was stored for a while: another order, a long text that is one, and what a page leaves out counted in another way.
  const { json: [note, long] } = await call('POST', '/api/bulkCreate', [{ type: 'Annotation', body: 'b', target: 't', kind: 'then' }, { text: 'é'.repeat(40_000), kind: 'then' }])
  const then = async ({ __rerum: _rerum, '@id': id, ...rest }: Record<string, unknown>, more: object) => {
    const text = JSON.stringify({ ...rest, '@id': id })
    const json = { of: '', form: 'json', ...more }
    await objects.updateOne({ _id: idOf({ '@id': id as string }) }, { $set: text.length > 32_768 ? { json, large: text } as object : { json: { ...json, text } } })
  }
  await then(note, { annotation: { context: 0 } })
  await then(long, {})
  await call('POST', '/api/query', {})
  for (const one of [note, long]) {
    const read = await call('GET', `/id/${idOf(one)}`)
    t.strictSame([read.status, read.json], [200, one])
    t.equal((await call('PATCH', '/api/set', { '@id': one['@id'], more: 1 }, { 'if-match': String(read.headers.etag) })).status, 200, 'its tag is that which writes compare')
  }
  const page = await call('POST', '/api/query', { kind: 'then', more: { $exists: false } }, { accept: 'application/ld+json;profile="http://www.w3.org/ns/anno.jsonld"' })
  t.match(page.json, { type: 'AnnotationPage', items: [{ id: note['@id'], type: 'Annotation', body: 'b' }] })
})

t.test('of an object that is as large as the database takes a tombstone is made that it takes', async (t) => {
  const make = new Maker('http://store.test/v1/id/', 'http://store.test/v1/context.json')
  const { json: _json, ...stored } = make.root({ text: '' }, ALICE, 'op')
  for (const [length, hasJson] of [[1000, true], [15_600_000, false]] as const) {
    const tombstone = make.tombstone({ ...stored, object: { ...stored.object, text: 'x'.repeat(length) } }, ALICE, 'op')
    t.ok(BSON.calculateObjectSize(tombstone) <= 16 * 1024 * 1024, `${length}`)
    t.equal('json' in tombstone, hasJson)
    t.match(JSON.parse(entryOfAll(tombstone).texts.join('')), { __deleted: { deletor: ALICE } })
  }
})

t.test('query: filters, pages in a stable order', async (t) => {
  const call = caller(await store(t))
  const { json: made } = await call('POST', '/api/bulkCreate', Array.from({ length: 7 }, (_, n) => ({ type: n % 2 ? 'Odd' : 'Even', n, tags: ['a', `t${n}`], at: { x: n } })))
  const query = async (filter: unknown, page = '') => (await call('POST', `/api/query${page}`, filter)).json.map(({ n }: { n: number }) => n)
  t.same(await query({ type: 'Odd' }), [1, 3, 5])
  t.same(await query({ tags: 't4' }), [4])
  t.same(await query({ 'at.x': { $gte: 2, $lt: 5 } }), [2, 3, 4])
  t.same(await query({ n: { $in: [6, 0] } }), [0, 6])
  t.same(await query({ $or: [{ n: 1 }, { type: 'Even', n: { $gt: 3 } }] }), [1, 4, 6])
  t.same(await query({ tags: { $all: ['a', 't2'] } }), [2])
  t.same(await query({ type: { $ne: 'Even' }, n: { $not: { $gt: 3 } } }), [1, 3])
  t.same(await query({ missing: { $exists: false }, tags: { $size: 2 } }, '?limit=2&skip=3'), [3, 4])
  await call('PUT', '/api/update', { '@id': made[0]['@id'], n: 70, type: 'Even' })
  t.same(await query({ '__rerum.history.next': { $size: 0 }, type: 'Even' }), [2, 4, 6, 70], 'the usual query for leaves')
})

t.test('search: words of any text, best first', async (t) => {
  const call = caller(await store(t))
  await call('POST', '/api/bulkCreate', [{ text: 'A red fox and a hen' }, { text: 'The red fox' }, { text: 'Hens', body: [{ value: 'élan vital' }] }])
  const search = async (body: unknown) => (await call('POST', '/api/search', body)).json
  t.same((await search('fox red')).map(({ text }: { text: string }) => text), ['The red fox', 'A red fox and a hen'])
  t.ok((await search('fox'))[0].__rerum.score > 0)
  t.same((await search({ searchText: 'hen the', options: { match: 'any' } })).length, 2)
  t.same((await search({ searchText: 'hen the' })).length, 0)
  t.same((await search({ searchText: 'ELAN' })).length, 1)
  t.equal((await call('POST', '/api/search', undefined, { 'content-type': 'text/plain' })).status, 400)
  for (const body of ['', '!', { text: 'x' }, { searchText: 'x', options: 'y' }, { searchText: 'x', options: { slop: -1 } }, 7]) t.match(await call('POST', '/api/search', body), { status: 400, json: { success: false } })
})

t.test('an object is found by its words, whatever long data stand before them', async (t) => {
  const call = caller(await store(t))
  const base64 = 'iVBORw0KGgo/abc+'.repeat(20_000)
  const words = Array.from({ length: 300 }, (_, n) => `kept${n}`).join(' ')
  await call('POST', '/api/bulkCreate', [
    { n: 1, image: `data:image/png;base64,${base64}`, label: 'wayzgoose' },
    { n: 2, html: `<p>colophon</p><img src="data:image/png;base64,${base64}"> fleuron` },
    { n: 3, text: `${words} ${'x'.repeat(999)} incipit ${'漢'.repeat(1200)} 猫` },
    { n: 4, text: JSON.stringify(Array.from({ length: 100 }, (_, n) => ({ line: n, gloss: `vellum${n}` }))) },
    { n: 5, text: `<lb/><w>quire</w><w>${Array.from({ length: 200 }, (_, n) => `folio${n}`).join('</w><w>')}</w>` }
  ])
  const found = async (searchText: string, path = '/api/search') => (await call('POST', path, { searchText })).json.map(({ n }: { n: number }) => n)
  t.same(await found('wayzgoose'), [1])
  t.same(await found('colophon fleuron'), [2], 'before and after, in one text')
  t.same(await found('colophon fleuron', '/api/search/phrase'), [2])
  t.same(await found('kept0 kept299 incipit'), [3])
  t.same(await found('猫'), [3], 'texts of scripts without spaces are words, however long')
  t.same(await found('vellum99'), [4], 'JSON without spaces is no data')
  t.same(await found('quire folio199'), [5], 'nor are elements without spaces')
  for (const data of ['iVBORw0KGgo', 'base64']) t.same(await found(data), [], 'what is no text has none')
})

t.test('who may not: 401 without a valid token, 403 without an agent, 503 when read only', async (t) => {
  const app = await store(t)
  const create = (authorization?: string) => app.inject({ method: 'POST', url: '/v1/api/create', payload: { a: 1 }, headers: authorization === undefined ? {} : { authorization } })
  for (const authorization of [undefined, 'Basic x', 'Bearer nonsense', `Bearer ${tokenFor(ALICE).slice(0, -3)}abc`, `Bearer ${tokenFor(ALICE, { exp: 1 })}`]) {
    const response = await create(authorization)
    t.match(response, { statusCode: 401 })
    t.match(response.json(), { success: false, code: 'FST_ERR_RERUM_UNAUTHORIZED' })
  }
  t.match((await create(`Bearer ${tokenFor('')}`)).json(), { statusCode: 403, code: 'FST_ERR_RERUM_NO_AGENT' })
  const closed = await store(t, { READONLY: 'true' })
  t.match(await caller(closed)('POST', '/api/create', { a: 1 }), { status: 503, json: { code: 'FST_ERR_RERUM_READONLY' } })
})

t.test('bad requests', async (t) => {
  const call = caller(await store(t))
  const { json: x } = await call('POST', '/api/create', { a: 1 })
  for (const body of [[], 'text', 7, null, {}, { '@id': x['@id'], a: 1 }, { $where: '1' }, { a: { $gt: 1 } }, { 'a.b': 1 }, { '': 1 }, { __rerum: {} }]) {
    t.match(await call('POST', '/api/create', body), { status: 400, json: { success: false, statusCode: 400 } }, JSON.stringify(body))
  }
  t.equal((await call('PUT', '/api/update', { a: 1 })).status, 400)
  t.equal((await call('PUT', '/api/update', { '@id': 7 })).status, 400)
  t.equal((await call('PUT', '/api/update', { '@id': 'nowhere' })).status, 400)
  t.equal((await call('PUT', '/api/update', { '@id': 'http://store.test/v1/id/507f1f77bcf86cd799439011' })).status, 404)
  for (const filter of [[], 'x', { $where: 'true' }, { a: { $where: '1' } }, { $expr: {} }, { a: { $regex: '.*' } }, { a: { $function: {} } }, { a: { $gt: 1, b: 2 } }, { a: { b: { $gt: 1 } } },
    { $or: {} }, { $or: [] }, { a: { $in: 1 } }, { a: { $size: -1 } }, { a: { $exists: 1 } }, { '': 1 }, { 'a..b': 1 }, { $text: { $search: 'x' } }, { a: { $not: 1 } }]) {
    t.match(await call('POST', '/api/query', filter), { status: 400, json: { success: false } }, JSON.stringify(filter))
  }
  for (const page of ['limit=0', 'limit=x', 'skip=-1', 'skip=100001']) t.equal((await call('POST', `/api/query?${page}`, { a: 1 })).status, 400, page)
  for (const id of ['507f1f77bcf86cd799439011', 'unknown', '%00', '$ne', 'a%20b']) {
    for (const path of ['id', 'history', 'since']) t.equal((await call('GET', `/${path}/${id}`)).status, 404, `${path}/${id}`)
  }
  t.equal((await call('DELETE', '/api/delete/unknown')).status, 404)
  t.equal((await call('GET', '/nothing')).status, 404)
  t.equal((await call('POST', '/api/create', { a: 'x'.repeat(5 * 1024 * 1024) })).status, 413)
  t.match(await call('POST', '/api/create', { a: Array.from({ length: 1_500_000 }, () => 1) }), { status: 413, json: { code: 'FST_ERR_RERUM_TOO_LARGE' } }, 'in five megabytes of JSON, and in no document of the database')
  for (const type of ['text/plain', 'application/xml', 'application/x-www-form-urlencoded']) t.equal((await call('POST', '/api/create', { a: 1 }, { 'content-type': type })).status, 415, type)
  t.equal((await call('POST', '/api/create', { a: 1 }, { 'content-type': 'application/ld+json' })).status, 201)
})

t.test('half a surrogate pair, which the database would store as another text, is refused wherever a text is', async (t) => {
  const app = await store(t)
  const call = caller(app)
  const half = 'x\ud800'
  t.same((await call('POST', '/api/query', { a: 'x\ufffd' })).json, [])
  const { json: x } = await call('POST', '/api/create', { b: 1, c: '\ud83e\udd8a' })
  t.equal(x.c, '\u{1f98a}', 'a whole pair is a letter like others')
  for (const body of [{ a: half }, { [half]: 1 }, { a: [{ b: [half] }] }, { a: { [half]: 1 } }]) {
    t.match(await call('POST', '/api/create', body), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_BODY' } }, JSON.stringify(body))
    t.match(await call('POST', '/api/bulkCreate', [body]), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_BODY' } })
    for (const [method, name] of [['PUT', 'update'], ['PUT', 'overwrite'], ['PATCH', 'patch'], ['PATCH', 'set'], ['PATCH', 'unset']] as const) {
      t.match(await call(method, `/api/${name}`, { '@id': x['@id'], ...body }), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_BODY' } }, `${name} ${JSON.stringify(body)}`)
    }
  }
  t.match(await call('PUT', '/api/update', { '@id': `https://elsewhere.org/${half}`, b: 1 }), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_ID' } })
  for (const filter of [{ a: half }, { [half]: 1 }, { a: { $in: ['a', half] } }, { a: { $ne: half } }, { a: { b: half } }, { a: { $eq: { [half]: 1 } } }, { $or: [{ a: [half] }] }]) {
    t.match(await call('POST', '/api/query', filter), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_FILTER' } }, JSON.stringify(filter))
  }
  for (const search of [half, { searchText: half }]) t.match(await call('POST', '/api/search', search), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_SEARCH' } })
  t.match(await caller(app, `https://example.org/${half}`)('POST', '/api/create', { a: 1 }), { status: 403, json: { code: 'FST_ERR_RERUM_NO_AGENT' } })
  t.same((await call('POST', '/api/query', { a: 'x\ufffd' })).json, [], 'nothing was stored that this would have to show')
})

t.test('a NUL in a name, which the database does not take, is refused on every level of a filter', async (t) => {
  const call = caller(await store(t))
  for (const filter of [{ 'a\0': 1 }, { a: { 'b\0': 1 } }, { a: { $in: [{ b: { 'c\0': 1 } }] } }, { a: { $ne: [{ 'b\0': 1 }] } }, { $or: [{ a: { $elemMatch: { 'b\0': 1 } } }] }]) {
    t.match(await call('POST', '/api/query', filter), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_FILTER' } }, JSON.stringify(filter))
  }
  t.same((await call('POST', '/api/query', { a: 'b\0' })).json, [], 'a text may have one')
})

t.test('a name with a blank at an end is found, or refused by a database that takes none in a filter', async (t) => {
  const call = caller(await store(t))
  const { json } = await call('POST', '/api/create', { '\u00a0a': { b: 1 } })
  const found = await call('POST', '/api/query', { '\u00a0a': { b: 1 } })
  if (found.status === 200) t.same(found.json, [json])
  else t.match(found, { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_FILTER' } })
})

t.test('a request whose address is longer than Node takes gets the envelope', async (t) => {
  const app = await store(t)
  const response = await fetch(`${await app.listen({ port: 0, host: '127.0.0.1' })}/v1/api/query?cursor=${'x'.repeat(20_000)}`, { method: 'POST', body: '{}' })
  t.match([response.status, await response.json()], [431, { success: false, code: 'FST_ERR_RERUM_BAD_REQUEST', statusCode: 431 }])
})

t.test('bytes that are no UTF-8 are refused, and not stored as other letters', async (t) => {
  const app = await store(t)
  const send = async (path: string, type: string, payload: Buffer) => {
    const response = await app.inject({ method: 'POST', url: `/v1${path}`, payload, headers: { authorization: `Bearer ${tokenFor(ALICE)}`, 'content-type': type } })
    return { status: response.statusCode, json: response.json() }
  }
  const latin = Buffer.from('{"searchText":"caf\u00e9","a":1}', 'latin1')
  for (const type of ['application/json', 'application/ld+json', 'application/json; charset=utf-8']) {
    for (const path of ['/api/create', '/api/query', '/api/search']) t.match(await send(path, type, latin), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_BODY', error: /UTF-8/ } }, `${path} ${type}`)
  }
  t.match(await send('/api/search', 'text/plain', Buffer.from('caf\u00e9', 'latin1')), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_BODY' } })
  t.match(await send('/api/create', 'application/json', Buffer.from('\ufeff{"b":"caf\u00e9"}')), { status: 201, json: { b: 'caf\u00e9' } }, 'with a mark of its byte order as well')
  t.match(await send('/api/search', 'text/plain', Buffer.from('caf\u00e9')), { status: 200 })
})

t.test('a number beyond those that JSON can say is refused, and the database never sees it', async (t) => {
  const app = await store(t)
  const call = caller(app)
  const { json: x } = await call('POST', '/api/create', { a: 1 })
  const send = async (method: 'POST' | 'PUT' | 'PATCH', name: string, payload: string) => {
    const response = await app.inject({ method, url: `/v1/api/${name}`, payload, headers: { authorization: `Bearer ${tokenFor(ALICE)}`, 'content-type': 'application/json' } })
    return { status: response.statusCode, json: response.json() }
  }
  for (const value of ['1e999', '-1e999', '[1, 1e999]', '{ "b": [{ "c": 1e999 }] }']) {
    t.match(await send('POST', 'create', `{ "a": ${value} }`), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_BODY' } }, value)
    for (const [method, name] of [['PUT', 'update'], ['PUT', 'overwrite'], ['PATCH', 'patch'], ['PATCH', 'set'], ['PATCH', 'unset']] as const) {
      t.match(await send(method, name, `{ "@id": ${JSON.stringify(x['@id'])}, "a": ${value} }`), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_BODY' } }, `${name} ${value}`)
    }
  }
  for (const condition of ['1e999', '{ "$lt": 1e999 }', '{ "$in": [1, -1e999] }', '{ "b": 1e999 }', '{ "$eq": [1e999] }']) {
    t.match(await send('POST', 'query', `{ "a": ${condition} }`), { status: 400, json: { code: 'FST_ERR_RERUM_INVALID_FILTER' } }, condition)
  }
  t.equal((await send('POST', 'create', '{ "a": 1e308, "b": -0.0 }')).status, 201)
})

t.test('patch takes a name that every JavaScript object has for one that is not there', async (t) => {
  const call = caller(await store(t))
  const { json: x } = await call('POST', '/api/create', { a: 1 })
  for (const name of ['toString', 'constructor', 'hasOwnProperty']) t.same((await call('PATCH', '/api/patch', { '@id': x['@id'], [name]: 'y' })).json, x, name)
})

t.test('a wrong method is answered with those that are right', async (t) => {
  const call = caller(await store(t))
  const expected: Array<[path: string, allow: string]> = [
    ['/id/x', 'GET, HEAD'], ['/history/x', 'GET, HEAD'], ['/since/x', 'GET, HEAD'], ['/api/query', 'HEAD, POST'], ['/api/search', 'POST'], ['/api/search/phrase', 'POST'], ['/api/create', 'POST'], ['/api/bulkCreate', 'POST'],
    ['/api/update', 'PUT'], ['/api/bulkUpdate', 'PUT'], ['/api/patch', 'PATCH, POST'], ['/api/set', 'PATCH, POST'], ['/api/unset', 'PATCH, POST'], ['/api/overwrite', 'PUT'], ['/api/delete/x', 'DELETE'],
    ['/api/release/x', 'PATCH, POST'], ['/api/cache/stats', 'GET, HEAD'], ['/api/cache/health', 'GET, HEAD'], ['/api/cache/clear', 'POST']
  ]
  for (const [path, allow] of expected) {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const) {
      // A POST that says that it is a PATCH is taken where PATCH is, and Allow has no way to say so of some.
      if (allow.includes(method) && !(method === 'POST' && allow.includes('PATCH'))) continue
      const response = await call(method, path, method === 'GET' ? undefined : {})
      t.equal(response.status, 405, `${method} ${path}`)
      t.equal(response.headers.allow, [...allow.split(', '), 'OPTIONS'].sort().join(', '))
      t.match(response.json, { code: 'FST_ERR_RERUM_METHOD', error: method === 'POST' && allow.includes('PATCH') ? /X-HTTP-Method-Override/ : `${method} is not allowed here` })
    }
  }
})

t.test('where to begin: each endpoint is described, and the address of the API is no dead end', async (t) => {
  const app = await store(t)
  const { json } = await caller(app)('GET', '/api')
  for (const [path, described] of Object.entries<string>(json.endpoints)) t.match(described, /^[A-Z]+: \w/, path)
  for (const url of ['/', '/v1', '/v1/']) {
    const response = await app.inject(url)
    t.equal(response.statusCode, 200, url)
    t.match(response.headers['content-type'], /^text\/html/)
  }
})

t.test('statistics, health and clearing of the cache', async (t) => {
  const app = await store(t)
  const call = caller(app)
  t.match((await call('GET', '/api/cache/stats')).json, { hitRate: Number, loads: Number, worker: '025:0' })
  t.match((await call('GET', '/api/cache/health')).json, { success: true, data: { status: 'ok' } })
  t.equal((await call('POST', '/api/cache/clear')).status, 403)
  t.match((await call('POST', '/api/cache/clear', undefined, { authorization: `Bearer ${tokenFor(ALICE, { role: 'admin' })}` })), { status: 200, json: { cleared: true } })
  t.match((await app.inject('/health')).json(), { status: 'ok' })
  t.equal((await app.inject('/health/live')).statusCode, 200)
  t.equal((await call('GET', '/context.json')).status, 200)
})
