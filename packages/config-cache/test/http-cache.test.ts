import { readFileSync } from 'node:fs'
import { Agent, request, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import Fastify from 'fastify'
import { redisLink } from '@jpulse/redis-link'
import { uniqueName } from '../../../test/helpers/index.ts'
import { configCache } from '../src/index.ts'

// Behaviours of the public HTTP cache tests (cache-tests.fyi), by their ids: what a second request gets after a first one.

type Headers = Record<string, string | string[]>

interface Row {
  /** Headers and status of the handler's first response. */
  says?: Headers
  status?: number
  /** Headers and query of the first request, and of the second. */
  asks?: Headers
  asksAgain?: Headers
  query?: [string, string]
  /** A request between them, and the status that it gets. */
  between?: { method: string, status: number }
  /** What those tests want: that the handler is asked again, or that the response was kept. */
  wants: 'kept' | 'asked'
  /** What the second response has. */
  answer?: { status?: number, headers?: Record<string, RegExp>, lacks?: string[] }
  /** It does the opposite, by a decision that docs/http-cache.md gives a reason for. */
  decided?: true
}

const at = (seconds: number): string => new Date(Date.now() + seconds * 1000).toUTCString()
const control = (value: string | string[], more: Headers = {}): Headers => ({ 'cache-control': value, ...more })
const FRESH = control('max-age=3600')
const STALE = { expires: at(-5000), 'last-modified': at(-100_000) }
const rfc850 = (date: string): string => {
  const [, day, month, year, time] = /^\w+, (\d+) (\w+) \d\d(\d\d) (\S+)/.exec(date)!
  return `Sunday, ${day}-${month}-${year} ${time} GMT`
}

const kept = (says: Headers, more: Partial<Row> = {}): Row => ({ says, wants: 'kept', ...more })
const asked = (says: Headers, more: Partial<Row> = {}): Row => ({ says, wants: 'asked', ...more })
const vary = (names: string, asks: Headers, asksAgain: Headers, wants: Row['wants'], more: Partial<Row> = {}): Row => ({ says: { ...FRESH, vary: names }, asks, asksAgain, wants, ...more })
const tagged = (etag: string, known: string, more: Partial<Row> = {}): Row =>
  kept({ ...FRESH, etag }, { asksAgain: { 'if-none-match': known }, answer: { status: 304 }, ...more })
const decided = { decided: true } as const

const rows: Record<string, Row> = {
  // Freshness by Cache-Control
  'freshness-none': asked({}, decided),
  'freshness-max-age': kept(FRESH),
  'freshness-max-age-quoted': kept(control('max-age="3600"')),
  'freshness-max-age-single-quoted': asked(control("max-age='3600'")),
  'freshness-max-age-ignore-quoted': asked(control('extension="max-age=100", max-age=0')),
  'freshness-max-age-ignore-quoted-rev': asked(control('max-age=0, extension="max-age=100"')),
  'freshness-max-age-space-before-equals': asked(control('max-age =3600'), decided),
  'freshness-max-age-space-after-equals': asked(control('max-age= 3600'), decided),
  'freshness-max-age-0': asked(control('max-age=0')),
  'freshness-max-age-leading-zero': kept(control('max-age=003600')),
  'freshness-max-age-decimal-five': kept(control('max-age=3600.5'), decided),
  'freshness-max-age-a100': kept(control('max-age=a3600'), decided),
  'freshness-max-age-100a': kept(control('max-age=3600a'), decided),
  'freshness-max-age-negative': asked(control('max-age=-3600')),
  'freshness-max-age-two-fresh-stale-sameline': kept(control('max-age=1800, max-age=1')),
  'freshness-max-age-two-stale-fresh-sepline': kept(control(['max-age=0', 'max-age=1800']), decided),
  'freshness-max-age-max': kept(control('max-age=2147483648')),
  'freshness-max-age-max-plus': kept(control('max-age=99999999999')),
  'freshness-max-age-age': asked(control('max-age=3600', { age: '7200' })),
  'freshness-max-age-date': asked(control('max-age=3600', { date: at(-7200) })),
  'freshness-max-age-expires': kept(control('max-age=3600', { expires: at(-7200) })),
  'freshness-max-age-expires-invalid': kept(control('max-age=3600', { expires: '0' })),
  'freshness-max-age-0-expires': asked(control('max-age=0', { expires: at(7200) })),
  'freshness-max-age-extension': kept(control('foobar, max-age=3600')),
  'freshness-max-age-case-insenstive': kept(control('MaX-aGe=3600')),
  'freshness-s-maxage-shared': kept(control('s-maxage=3600')),
  'freshness-max-age-s-maxage-shared-longer': asked(control('max-age=3600, s-maxage=0')),
  'freshness-max-age-s-maxage-shared-longer-multiple': asked(control(['max-age=3600', 's-maxage=0'])),
  'freshness-max-age-s-maxage-shared-shorter': kept(control('max-age=0, s-maxage=3600')),
  // Age
  'age-parse-nonnumeric': kept({ ...FRESH, age: 'abc' }),
  'age-parse-negative': kept({ ...FRESH, age: '-7200' }),
  'age-parse-suffix': asked({ ...FRESH, age: '7200, 0' }),
  'age-parse-prefix': kept({ ...FRESH, age: '0, 7200' }),
  'age-parse-dup-0': kept({ ...FRESH, age: '0, 0' }),
  'age-parse-dup-old': asked({ ...FRESH, age: '7200, 7200' }),
  'other-age-gen': kept({ expires: at(3600) }, { answer: { headers: { age: /^\d+$/ } } }),
  'other-age-update-expires': kept({ expires: at(3600), age: '30' }, { answer: { headers: { age: /^3\d$/ } } }),
  'other-age-update-max-age': kept({ ...FRESH, age: '30' }, { answer: { headers: { age: /^3\d$/ } } }),
  'other-date-update': kept({ expires: at(3600), date: at(-5) }, { answer: { headers: { date: new RegExp(at(-5)) } } }),
  // Freshness by Expires
  'freshness-expires-future': kept({ expires: at(3600) }),
  'freshness-expires-past': asked({ expires: at(-3600) }),
  'freshness-expires-present': asked({ expires: at(0) }),
  'freshness-expires-old-date': asked({ expires: at(300), date: at(400) }),
  'freshness-expires-age-slow-date': asked({ expires: at(10), date: at(-10), age: '25' }),
  'freshness-expires-age-fast-date': asked({ expires: at(20), date: at(10), age: '15' }),
  'freshness-expires-rfc850': kept({ expires: rfc850(at(3600)) }),
  'freshness-expires-ansi-c': kept({ expires: 'Thu Aug 18 02:01:18 2050' }),
  'freshness-expires-wrong-case-month': kept({ expires: 'Thu, 18 AUG 2050 02:01:18 GMT' }),
  'freshness-expires-wrong-case-weekday': kept({ expires: 'THU, 18 Aug 2050 02:01:18 GMT' }),
  'freshness-expires-wrong-case-tz': kept({ expires: 'Thu, 18 Aug 2050 02:01:18 gMT' }),
  'freshness-expires-invalid': asked({ expires: '0' }),
  'freshness-expires-invalid-utc': asked({ expires: 'Thu, 18 Aug 2050 02:01:18 UTC' }),
  'freshness-expires-invalid-2-digit-year': asked({ expires: 'Thu, 18 Aug 50 02:01:18 GMT' }),
  'freshness-expires-invalid-no-comma': asked({ expires: 'Thu 18 Aug 2050 02:01:18 GMT' }),
  'freshness-expires-invalid-multiple-spaces': asked({ expires: 'Thu, 18  Aug  2050 02:01:18 GMT' }),
  'freshness-expires-invalid-date-dashes': asked({ expires: 'Thu, 18-Aug-2050 02:01:18 GMT' }),
  'freshness-expires-invalid-1-digit-hour': asked({ expires: 'Thu, 18 Aug 2050 2:01:18 GMT' }),
  'freshness-expires-invalid-time-periods': asked({ expires: 'Thu, 18 Aug 2050 02.01.18 GMT' }),
  'freshness-expires-invalid-date': kept({ expires: at(3600), date: 'foo' }),
  // What a response forbids
  'cc-resp-private-shared': asked(control('private, max-age=3600')),
  'cc-resp-no-store': asked(control('no-store')),
  'cc-resp-no-store-case-insensitive': asked(control('No-StOrE')),
  'cc-resp-no-store-fresh': asked(control('max-age=10000, no-store', { expires: at(10_000) })),
  'cc-resp-no-cache': asked(control('max-age=10000, no-cache', { expires: at(10_000) })),
  'cc-resp-no-cache-case-insensitive': asked(control('max-age=10000, No-CaChE')),
  'headers-omit-headers-listed-in-Cache-Control-no-cache': kept(control(['no-cache="a, b"', 'max-age=3600'], { a: '1' }), decided),
  'cc-resp-must-revalidate-fresh': kept(control('max-age=10000, must-revalidate', { etag: '"a"' })),
  'cc-resp-must-understand-unknown': asked(control('max-age=3600, must-understand'), { status: 299 }),
  'cc-resp-must-understand-no-store': kept(control('max-age=3600, no-store, must-understand'), decided),
  'other-set-cookie': kept({ ...FRESH, 'set-cookie': 'a=b' }, decided),
  'other-cookie': kept(FRESH, { asksAgain: { cookie: 'a=b' } }),
  'other-fresh-content-disposition-attachment': kept({ ...FRESH, 'content-disposition': 'attachment' }),
  'pragma-response-no-cache': kept({ ...FRESH, pragma: 'no-cache' }),
  'cdn-no-store-cc-fresh': asked({ ...FRESH, 'cdn-cache-control': 'no-store' }, decided),
  'cdn-max-age-0': asked({ ...FRESH, 'cdn-cache-control': 'max-age=0' }, decided),
  // Authorization
  'other-authorization': asked({ expires: at(3600) }, { asks: { authorization: 'FOO' } }),
  'other-authorization-public': kept(control('max-age=3600, public'), { asks: { authorization: 'FOO' } }),
  'other-authorization-must-revalidate': kept(control('max-age=3600, must-revalidate'), { asks: { authorization: 'FOO' } }),
  'other-authorization-smaxage': kept(control('s-maxage=3600'), { asks: { authorization: 'FOO' } }),
  // What a request says
  'ccreq-ma0': asked(FRESH, { asksAgain: { 'cache-control': 'max-age=0' }, ...decided }),
  'ccreq-min-fresh': asked(FRESH, { asksAgain: { 'cache-control': 'min-fresh=20000' }, ...decided }),
  'ccreq-no-cache': asked(FRESH, { asksAgain: { 'cache-control': 'no-cache' }, ...decided }),
  'ccreq-no-store': asked(FRESH, { asksAgain: { 'cache-control': 'no-store' } }),
  'pragma-request-no-cache': kept(FRESH, { asksAgain: { pragma: 'no-cache' } }),
  'query-args-different': asked(FRESH, { query: ['?a=1', '?a=2'] }),
  'query-args-same': kept(FRESH, { query: ['?a=1', '?a=1'] }),
  // Vary
  'vary-match': vary('Foo', { foo: '1' }, { foo: '1' }, 'kept'),
  'vary-no-match': vary('Foo', { foo: '1' }, { foo: '2' }, 'asked'),
  'vary-omit': vary('Foo', { foo: '1' }, {}, 'asked'),
  'vary-omit-stored': vary('Foo', {}, { foo: '1' }, 'asked'),
  'vary-cache-key': vary('Foo', { foo: '1', other: '2' }, { foo: '1', other: '3' }, 'kept'),
  'vary-2-match': vary('Foo, Bar', { foo: '1', bar: 'abc' }, { foo: '1', bar: 'abc' }, 'kept'),
  'vary-2-no-match': vary('Foo, Bar', { foo: '1', bar: 'abc' }, { foo: '2', bar: 'abc' }, 'asked'),
  'vary-2-match-omit': vary('Foo, Bar', { foo: '1' }, {}, 'asked'),
  'vary-3-omit': vary('Foo, Bar, Baz', { foo: '1', baz: '789' }, { foo: '1', baz: '789' }, 'kept'),
  'vary-star': vary('*', {}, {}, 'asked'),
  'vary-syntax-empty-star': vary(', *', {}, {}, 'asked'),
  'vary-syntax-foo-star': vary('Foo, *', {}, {}, 'asked'),
  'vary-normalise-space': vary('Foo', { foo: '1,2' }, { foo: ' 1, 2 ' }, 'kept'),
  'vary-normalise-combine': vary('Foo', { foo: '1, 2' }, { foo: ['1', '2'] }, 'kept'),
  'vary-normalise-lang-order': vary('Accept-Language', { 'accept-language': 'en, de' }, { 'accept-language': 'de, en' }, 'kept', decided),
  // Conditional requests
  'conditional-etag-strong-respond': tagged('"abcdef"', '"abcdef"'),
  'conditional-304-etag': tagged('"abcdef"', '"abcdef"', { answer: { status: 304, headers: { etag: /^"abcdef"$/, 'cache-control': /^max-age=3600$/ } } }),
  'conditional-etag-weak-respond': tagged('W/"abcdef"', 'W/"abcdef"'),
  'conditional-etag-weak-strong': tagged('"abcdef"', 'W/"abcdef"'),
  'conditional-etag-strong-respond-multiple-first': tagged('"abcdef"', '"abcdef", "1234", "5678"'),
  'conditional-etag-strong-respond-multiple-second': tagged('"abcdef"', '"1234", "abcdef", "5678"'),
  'conditional-etag-strong-respond-multiple-last': tagged('"abcdef"', '"1234", "5678", "abcdef"'),
  'conditional-etag-any': tagged('"abcdef"', '*'),
  'conditional-etag-no-match': tagged('"abcdef"', '"abc*"', { answer: { status: 200 } }),
  'conditional-etag-unquoted-star': tagged('"abcdef"', 'abc*', { answer: { status: 200 } }),
  'conditional-etag-quoted-respond-unquoted': tagged('"abcdef"', 'abcdef', { answer: { status: 200 } }),
  'conditional-etag-precedence': tagged('"abcdef"', '"abcdef"', { says: { ...FRESH, etag: '"abcdef"', 'last-modified': at(-50) }, asksAgain: { 'if-none-match': '"abcdef"', 'if-modified-since': at(-5000) } }),
  'conditional-lm-fresh': kept({ ...FRESH, 'last-modified': at(-3000) }, { asksAgain: { 'if-modified-since': at(-3000) }, answer: { status: 304 } }),
  'conditional-lm-fresh-earlier': kept({ ...FRESH, 'last-modified': at(-3000) }, { asksAgain: { 'if-modified-since': at(-2000) }, answer: { status: 304 } }),
  'conditional-lm-fresh-later': kept({ ...FRESH, 'last-modified': at(-2000) }, { asksAgain: { 'if-modified-since': at(-3000) }, answer: { status: 200 } }),
  'conditional-lm-fresh-rfc850': kept({ ...FRESH, 'last-modified': at(-3000) }, { asksAgain: { 'if-modified-since': rfc850(at(-3000)) }, answer: { status: 304 } }),
  'conditional-lm-fresh-no-lm': kept(FRESH, { asksAgain: { 'if-modified-since': at(-3000) }, answer: { status: 200 } }),
  'conditional-if-match': asked({ ...FRESH, etag: '"abcdef"' }, { asksAgain: { 'if-match': '"other"' } }),
  // Parts
  'partial-store-partial-reuse-partial': kept({ ...FRESH, 'content-range': 'bytes 4-9/10' }, { status: 206, asks: { range: 'bytes=-5' }, asksAgain: { range: 'bytes=-5' }, ...decided }),
  'partial-store-complete-reuse-partial': kept(FRESH, { asksAgain: { range: 'bytes=0-1' }, ...decided }),
  'partial-store-partial-reuse-complete': asked({ ...FRESH, 'content-range': 'bytes 4-9/10' }, { status: 206, asks: { range: 'bytes=-5' } }),
  // Serving stale
  'stale-503': kept(STALE, { ...decided }),
  'stale-sie-503': kept(control('max-age=0, stale-if-error=60'), decided),
  'stale-while-revalidate': kept(control('max-age=0, stale-while-revalidate=60'), decided)
}

for (const status of [200, 203, 204, 299, 301, 302, 303, 307, 308, 404, 410]) rows[`status-${status}-fresh`] = kept(FRESH, { status, answer: { status } })
for (const status of [400, 499, 500, 502, 503, 504, 599]) rows[`status-${status}-fresh`] = kept(FRESH, { status, ...decided })
for (const status of [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599]) rows[`status-${status}-stale`] = asked(STALE, { status })
const modified = { 'last-modified': at(-24 * 3600) }
for (const status of [201, 202, 403, 502, 503, 504, 599]) rows[`heuristic-${status}-not_cached`] = asked(modified, { status })
for (const status of [200, 203, 204]) rows[`heuristic-${status}-cached`] = kept(modified, { status })
for (const status of [404, 405, 410, 414, 501]) rows[`heuristic-${status}-cached`] = kept(modified, { status, ...decided })
for (const method of ['POST', 'PUT', 'DELETE', 'M-SEARCH']) {
  rows[`invalidate-${method}`] = asked(FRESH, { between: { method, status: 200 } })
  rows[`invalidate-${method}-failed`] = kept(FRESH, { between: { method, status: 500 }, ...decided })
}
for (const name of ['Test-Header', 'X-Test-Header', 'X-Frame-Options', 'Content-Security-Policy', 'Clear-Site-Data', 'Content-Location', 'Content-Language', 'Link', 'ETag', 'Last-Modified', 'Expires', 'Strict-Transport-Security', 'WWW-Authenticate']) {
  const value = /ETag/.test(name) ? '"a"' : /Modified|Expires/.test(name) ? at(3600) : 'value'
  rows[`headers-store-${name}`] = kept({ ...FRESH, [name]: value }, { answer: { headers: { [name.toLowerCase()]: new RegExp(value) } } })
}
for (const name of ['Keep-Alive', 'Proxy-Authenticate', 'Proxy-Authentication-Info', 'Proxy-Connection', 'TE', 'Upgrade']) {
  rows[`headers-store-${name}`] = kept({ ...FRESH, [name]: 'value' }, { answer: { lacks: [name === 'Keep-Alive' ? 'nothing' : name.toLowerCase()] } })
}
rows['headers-omit-headers-listed-in-Connection'] = kept({ ...FRESH, connection: 'a, b', a: '1', b: '2', c: '3' }, { answer: { headers: { c: /^3$/ }, lacks: ['a', 'b'] } })

const agent = new Agent({ keepAlive: true, maxSockets: 50 })
t.teardown(() => agent.destroy())

interface Answer { status: number, headers: IncomingHttpHeaders, body: string }

const ask = (port: number, path: string, headers: Headers = {}, method = 'GET') => new Promise<Answer>((resolve, reject) => {
  request({ agent, port, host: '127.0.0.1', path, method, headers }, (response) => {
    let body = ''
    response.setEncoding('utf8').on('data', (text) => { body += text }).on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body }))
  }).on('error', reject).end()
})

t.test('the behaviours of the public HTTP cache tests', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHttpMethod('M-SEARCH', { hasBody: true })
  await app.register(redisLink, { siteId: uniqueName() })
  // What is undecided is looked at at the end, however slow the machine is.
  await app.register(configCache, { blockTtlMs: 600_000 })
  const runs: Record<string, number> = {}
  for (const [id, { status = 200, says = {}, between }] of Object.entries(rows)) {
    app.all(`/${id}`, { config: { cache: {} } }, async ({ method }, reply) => {
      if (!['GET', 'HEAD'].includes(method)) return reply.code(between!.status).send('done')
      runs[id] = (runs[id] ?? 0) + 1
      return reply.code(status).headers(says).send(`${id} ${runs[id]}`)
    })
  }
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const outcome = async (id: string, { query = ['', ''], asks, asksAgain, between }: Row): Promise<[is: Row['wants'], answer: Answer]> => {
    await ask(port, `/${id}${query[0]}`, asks)
    if (between !== undefined) await ask(port, `/${id}`, {}, between.method)
    const answer = await ask(port, `/${id}${query[1]}`, asksAgain)
    return [runs[id] === 1 ? 'kept' : 'asked', answer]
  }
  const opposite = { kept: 'asked', asked: 'kept' } as const
  await Promise.all(Object.entries(rows).map(async ([id, row]) => {
    const [is, { status, headers }] = await outcome(id, row)
    t.equal(is, row.decided === true ? opposite[row.wants] : row.wants, id)
    if (row.answer?.status !== undefined) t.equal(status, row.answer.status, `${id}: status`)
    t.match(headers, row.answer?.headers ?? {}, `${id}: headers`)
    for (const name of row.answer?.lacks ?? []) t.notOk(headers[name], `${id}: no ${name}`)
  }))
  t.equal(app.configCache.stats().blocks, 4, 'what a 500 leaves undecided stays uncached')
})

t.test('docs/http-cache.md says what was seen', async (t) => {
  const page = readFileSync(new URL('../docs/http-cache.md', import.meta.url), 'utf8')
  const said: Record<string, boolean> = {}
  for (const [, ids, holds] of page.matchAll(/^\| [^|]+ \| (`[^|]+) \| (yes|no) \|/gm)) {
    for (const [, id] of ids!.matchAll(/`([^`]+)`/g)) said[id!] = holds === 'yes'
  }
  t.strictSame(said, Object.fromEntries(Object.entries(rows).map(([id, row]) => [id, row.decided !== true])))
})
