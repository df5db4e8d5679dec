import { once } from 'node:events'
import { createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { clusterBroadcast } from '@jpulse/cluster-broadcast'
import { redisLink } from '@jpulse/redis-link'
import Fastify from 'fastify'
import type { Page } from 'playwright-core'
import t from 'tap'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { browser, violations } from '../../../test/helpers/browser.ts'
import { clusterMetrics } from '../src/index.ts'
import { resolveOptions } from '../src/options.ts'
import { build } from './build.ts'

t.setTimeout(180_000)
const slow = { timeoutMs: 60_000, everyMs: 50 }
const EVIL = '<img src=x onerror=alert(1)>"\'&'

t.test('the dashboard is live, keeps its history, escapes what it shows, and fits a phone', async (t) => {
  const link = { url: sharedRedis(), siteId: uniqueName(), env: 'test' }
  const namespaces = (connections: number) => ({
    chat: { path: '/api/1/ws/chat', users: 2, connections, messages: 310 * connections, rooms: 2, drops: { oversize: 0, rateLimit: 0, invalid: 0, slow: 0 }, lastActivity: Date.now() },
    evil: { path: `/api/1/ws/${EVIL}`, users: 0, connections: 0, messages: 0, rooms: 0, drops: { oversize: 0, rateLimit: 0, invalid: 0, slow: 0 }, lastActivity: null }
  })
  const [one, two, three] = await Promise.all([['025', '0'], ['025', '1'], ['026', '0']].map(async ([serverId, pmId], index) => (await build(t, {
    link,
    serverId,
    pmId,
    options: { authorize: () => true, version: EVIL, reportIntervalMs: 500 },
    // Names that the plugin itself would refuse.
    plugins: (app) => { app.decorate('wsNamespaces', { local: () => namespaces(index + 3) } as never) },
    routes: (app) => {
      app.get('/item/:id', async () => 'item')
      app.get('/slow', (_request, reply) => { setTimeout(() => reply.send('slow'), 40) })
      app.get(`/page/${EVIL}`, async () => { throw new Error(`cannot show ${EVIL}`) })
    }
  })).app))
  one!.clusterMetrics.increment('orders', 12)
  one!.clusterMetrics.gauge('text', () => EVIL, { reduce: 'first' })
  one!.clusterMetrics.provider('mail', () => ({ queued: 3, host: EVIL }), { reduce: { queued: 'sum', host: 'first' } })
  const address = await one!.listen({ port: 0, host: '127.0.0.1' })
  const load = async (times: number) => {
    for (let i = 0; i < times; i++) for (const app of [one!, two!, three!]) await Promise.all([app.inject(`/item/${i}`), i % 5 === 0 ? app.inject('/slow') : null])
  }
  await load(20)
  await one!.inject(`/page/${encodeURI(EVIL)}`)
  await waitFor(async () => (await one!.clusterMetrics.recentErrors(10)).errors.length > 0, slow)

  const visitor = await browser(t)
  const { page, complaints } = await visitor({ viewport: { width: 1400, height: 900 } })
  await page.goto(`${address}/admin/cluster#minutes=1`)
  await shows(page, 3)
  const text = await page.locator('body').innerText()
  for (const wanted of ['025:0', '025:1', '026:0', '/item/:id', '/api/1/ws/chat', 'orders', 'mail', `cannot show ${EVIL}`, `/api/1/ws/${EVIL}`]) t.ok(text.includes(wanted), wanted)
  t.equal(await page.locator('img').count(), 0, 'nothing of it became an element')
  t.equal(await page.locator('[style], style, script:not([src])').count(), 0, 'nothing inline')

  const requests = () => page.locator('#routes tbody tr', { hasText: '/item/:id' }).locator('td').nth(1).textContent()
  await load(5)
  await waitFor(async () => await requests() === '75', { what: 'the page to update itself', ...slow })
  await three!.close()
  await shows(page, 2)
  const points = async () => Number(await page.locator('#cluster-dashboard').getAttribute('data-points'))
  await waitFor(async () => (await points()) >= 2, { what: 'more points of the history', ...slow })
  const before = await points()
  await page.reload()
  await waitFor(async () => (await points()) >= before, { what: 'the history after a reload', ...slow })
  t.ok(await page.locator('#chart-requests path.line').count() > 0, 'the history is there after a reload')
  t.same(complaints, [])

  const nodeOf = "document.querySelector('#servers tbody tr td')"
  await page.evaluate(`window.kept = ${nodeOf}; getSelection().selectAllChildren(document.querySelector('#routes tbody td')); scrollTo(0, 300)`)
  for (const app of [one!, two!]) await app.inject('/item/1')
  await waitFor(async () => await requests() === '52', { what: 'another update', ...slow })
  t.ok(await page.evaluate(`window.kept === ${nodeOf} && String(getSelection()).includes('/') && scrollY === 300`), 'what is selected stays, what is there is not made anew, and the page is where it was')
  await page.locator('#routes th button', { hasText: 'p95' }).click()
  t.match(await page.locator('#routes tbody tr').first().textContent(), /slow/, 'the slowest first')
  await page.locator('#route-filter').fill('item')
  t.equal(await page.locator('#routes tbody tr').count(), 1)
  one!.clusterMetrics.check('disk', () => false, { critical: true })
  await waitFor(async () => (await page.locator('#checks').textContent())?.includes('disk is down on 025:0') === true, { what: 'a check that is down', ...slow })
  t.equal(await page.locator('#status').textContent(), '▲degraded')
  t.match(await page.locator('#servers tbody tr').first().innerText(), /025:0[^]*■ not ready[^]*■ disk down/, 'the worst first, with its check')
  for (const [wanted, count] of [['not ready', 1], ['026', 0], ['025', 2]] as const) {
    await page.locator('#instance-filter').fill(wanted)
    t.equal(await page.locator('#servers tbody tr').count(), count, wanted)
  }
  await page.locator('#instance-filter').fill('')
  await page.locator('#route-filter').fill('')
  await page.getByRole('button', { name: 'Failing' }).press('Enter')
  t.match(await page.locator('#routes tbody tr').first().textContent(), /page/, 'the failing first')
  t.equal(await page.getByRole('button', { name: 'Failing' }).getAttribute('aria-pressed'), 'true')
  t.same(await violations(page), [], 'nothing that axe finds')

  // One instance, by keyboard, and back.
  await page.locator('#servers a', { hasText: '025:1' }).press('Enter')
  await waitFor(async () => await page.locator('#title').textContent() === '025:1' && Number(await page.locator('#cluster-dashboard').getAttribute('data-points')) > 0, { what: 'the page of an instance', ...slow })
  t.equal(await page.evaluate('document.activeElement.id'), 'title', 'who cannot see is told where they are')
  t.match(await page.locator('#facts').innerText(), /checks[^]*instance[^]*● up[^]*process[^]*025:1/)
  t.match(await page.locator('#routes').innerText(), /\/item\/:id/)
  t.notOk((await page.locator('#errors').innerText()).includes('cannot show'), 'errors of its own only')
  t.equal(await page.locator('#servers-section').isVisible(), false)
  const chart = page.locator('#chart-requests svg')
  await chart.focus()
  await chart.press('ArrowLeft')
  await page.evaluate("window.kept = document.querySelector('#chart-requests svg')")
  const its = await requests()
  await two!.inject('/item/1')
  await waitFor(async () => await requests() === String(Number(its) + 1), { what: 'its figures to go on', ...slow })
  t.ok(await page.evaluate('document.activeElement === window.kept'), 'a chart keeps the focus')
  t.same(await violations(page), [], 'nothing that axe finds on it')
  await page.goBack()
  await waitFor(async () => await page.locator('#title').textContent() === 'Cluster', { what: 'the page of the cluster', ...slow })
  await shows(page, 2)

  const phone = await visitor({ viewport: { width: 390, height: 844 }, colorScheme: 'dark' })
  await phone.page.goto(`${address}/admin/cluster#minutes=1`)
  await shows(phone.page, 2)
  t.equal(await phone.page.evaluate('document.documentElement.scrollWidth'), 390, 'nothing sticks out')
  const shades = (page: Page) => page.evaluate('getComputedStyle(document.body).backgroundColor')
  t.not(await shades(phone.page), await shades(page), 'dark where the visitor wants it')
  t.same(await violations(phone.page), [], 'nothing that axe finds, dark and small')
  t.same(phone.complaints, [])

  await build(t, { link, serverId: '027', options: { version: '2.0', reportIntervalMs: 500 } })
  await waitFor(async () => (await page.locator('#deploys').textContent())?.includes('2.0') === true, { what: 'the deploy to be said', ...slow })
  t.match(await page.locator('#chart-requests line.deploy title').first().textContent(), /◆ 2\.0/, 'and marked')

  two!.redisLink.on('down', () => {})
  await one!.redisLink.close()
  await waitFor(async () => (await page.locator('#notice').textContent())?.startsWith('Only the instance that answers is known') === true, { what: 'the page to say it', ...slow })
  t.match(await page.locator('#status').textContent(), /error|degraded/)
})

/** Waits until the page shows so many instances, and the history. */
function shows (page: Page, instances: number): Promise<unknown> {
  return waitFor(async () => await page.locator('#servers tbody tr').count() === instances && Number(await page.locator('#cluster-dashboard').getAttribute('data-points')) > 0,
    { what: `${instances} instances on the page`, ...slow })
}

t.test('the dashboard works below any path: a prefix of Fastify, a proxy that takes its own away, a trailing slash', async (t) => {
  const app = Fastify({ routerOptions: { ignoreTrailingSlash: true }, forceCloseConnections: true })
  t.teardown(() => app.close())
  app.register(async (scope) => {
    scope.register(redisLink)
    scope.register(clusterBroadcast)
    scope.register(clusterMetrics, { authorize: () => true, reportIntervalMs: 200 })
  }, { prefix: '/inner' })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const proxy = createServer((request, response) => {
    if (!request.url!.startsWith('/outer/')) return response.writeHead(404).end()
    get(address + request.url!.slice('/outer'.length), (answer) => { answer.pipe(response.writeHead(answer.statusCode!, answer.headers)) })
  })
  t.teardown(() => proxy.close())
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const visitor = await browser(t)
  for (const url of [`${address}/inner/admin/cluster`, `${address}/inner/admin/cluster/`, `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/outer/inner/admin/cluster`]) {
    const { page, complaints } = await visitor()
    await page.goto(`${url}#minutes=1`)
    await waitFor(async () => await page.locator('#servers tbody tr').count() === 1, { what: url, ...slow })
    t.same(complaints, [], url)
  }
})

t.test('an application puts the dashboard into a page of its own: with its header, its policy, for who is authorized', async (t) => {
  const asked: string[] = []
  const { app, lines } = await build(t, {
    options: {
      authorize: ({ headers }) => headers.cookie === 'who=admin',
      dashboardPath: '/admin/cluster',
      dashboardFrame: async ({ url }, { head, body }) => {
        asked.push(url)
        return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title><link rel="stylesheet" href="/shop.css">${head}</head><body><a class="skip" href="#main">Skip</a><header><a id="home" href="/">Back to the shop</a><p id="mine" class="card notice">Shop</p></header><main id="main">${body}</main></body></html>`
      }
    },
    routes: (app) => {
      app.addHook('onSend', async (_request, reply) => { reply.header('content-security-policy', "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'") })
      app.get('/', async (_request, reply) => reply.type('text/html').send('<!doctype html><title>Shop</title>'))
      app.get('/shop.css', async (_request, reply) => reply.type('text/css').send('body { margin: 0 } table { width: 10px } input { display: block } .card { color: rgb(1, 2, 3) }'))
    }
  })
  t.equal((await app.inject('/admin/cluster')).statusCode, 401)
  t.same(asked, [], 'nobody else is shown anything')
  t.equal((await app.inject({ url: '/admin/cluster', headers: { cookie: 'who=admin' } })).headers['content-security-policy'], undefined, 'the policy is the application\'s')
  t.match((await app.inject({ url: '/admin/cluster/dashboard.js', headers: { cookie: 'who=admin' } })).headers['content-security-policy'], "'none'")
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const visitor = await browser(t)
  for (const colorScheme of ['light', 'dark'] as const) {
    const { page, complaints } = await visitor({ viewport: { width: 390, height: 844 }, colorScheme })
    await page.context().addCookies([{ name: 'who', value: 'admin', url: address }])
    await page.goto(`${address}/admin/cluster#minutes=15`)
    await shows(page, 1)
    t.equal(await page.evaluate("getComputedStyle(document.querySelector('#mine')).color"), 'rgb(1, 2, 3)', 'what the page has around it stays as it is')
    t.equal(await page.evaluate("getComputedStyle(document.querySelector('#mine')).display + getComputedStyle(document.querySelector('#mine')).backgroundColor"), 'blockrgba(0, 0, 0, 0)')
    t.equal(await page.evaluate('document.documentElement.scrollWidth'), 390, 'nothing sticks out')
    t.same(await violations(page), [], 'nothing that axe finds: the page is light, whatever the visitor wants')
    await page.locator('a.skip').press('Enter')
    t.equal(await page.evaluate('document.activeElement.id + location.hash'), 'main#minutes=15', 'a skip link of the page leaves the address, which says what is shown')
    await page.locator('#home').click()
    await page.waitForURL(`${address}/`)
    t.same(complaints.filter((complaint) => !complaint.includes('status of 404')), [])
  }
  const wrong = await build(t, { options: { authorize: () => true, dashboardFrame: () => 7 as never } })
  t.match((await wrong.app.inject('/admin/cluster')).json(), { statusCode: 500, code: 'FST_ERR_CLUSTER_METRICS_INVALID_OPTION' })
  t.ok(wrong.lines.some((line) => line.includes('dashboardFrame must return a text')), 'and the log says which')
  t.notOk(lines.some((line) => line.includes('"level":50')))
  t.throws(() => resolveOptions({ dashboardFrame: 'page' as never }), { code: 'FST_ERR_CLUSTER_METRICS_INVALID_OPTION' })
})
