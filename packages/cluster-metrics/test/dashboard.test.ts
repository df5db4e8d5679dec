import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import t from 'tap'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { browser } from '../../../test/helpers/browser.ts'
import { build } from './build.ts'

t.setTimeout(180_000)
const slow = { timeoutMs: 60_000, everyMs: 50 }
const EVIL = '<img src=x onerror=alert(1)>"\'&'

/** With PICTURES set, the pictures of the README are made anew. */
const PICTURES = process.env.PICTURES === undefined ? null : fileURLToPath(new URL('../../../docs/images/', import.meta.url))

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
    plugins: (app) => { app.decorate('wsNamespaces', { local: () => namespaces(index + 3) }) },
    routes: (app) => {
      app.get('/item/:id', async () => 'item')
      app.get('/slow', (_request, reply) => { setTimeout(() => reply.send('slow'), 40) })
      app.get(`/page/${EVIL.replace('/', '')}`, async () => { throw new Error(`cannot show ${EVIL}`) })
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
  await one!.inject(`/page/${encodeURIComponent(EVIL)}`)
  await waitFor(async () => (await one!.clusterMetrics.recentErrors(10)).errors.length > 0, slow)

  const visitor = await browser(t)
  const { page, complaints } = await visitor({ viewport: { width: 1400, height: 900 } })
  await page.goto(`${address}/admin/cluster`)
  await page.waitForFunction(() => document.querySelectorAll('#servers tbody tr').length === 3 && Number(document.body.dataset.points) > 0)
  const text = await page.evaluate(() => document.body.innerText)
  for (const wanted of ['025:0', '025:1', '026:0', '/item/:id', '/api/1/ws/chat', 'orders', 'mail', `cannot show ${EVIL}`, `/api/1/ws/${EVIL}`]) t.ok(text.includes(wanted), wanted)
  t.equal(await page.locator('img').count(), 0, 'nothing of it became an element')
  t.equal(await page.evaluate(() => document.querySelectorAll('[style], style, script:not([src])').length), 0, 'nothing inline')

  const requests = () => page.evaluate(() => [...document.querySelectorAll('#routes tbody tr')].find((row) => row.textContent?.includes('/item/:id'))?.children[1]?.textContent)
  await load(5)
  await waitFor(async () => await requests() === '75', { what: 'the page to update itself', ...slow })
  await three!.close()
  await page.waitForFunction(() => document.querySelectorAll('#servers tbody tr').length === 2)
  const points = () => page.evaluate(() => Number(document.body.dataset.points))
  await waitFor(async () => (await points()) >= 2, { what: 'more points of the history', ...slow })
  const before = await points()
  await page.reload()
  await page.waitForFunction((least) => Number(document.body.dataset.points) >= least, before)
  t.ok(await page.locator('#chart-requests path.line').count() > 0, 'the history is there after a reload')
  t.same(complaints, [])

  const phone = await visitor({ viewport: { width: 390, height: 844 }, colorScheme: 'dark' })
  await phone.page.goto(`${address}/admin/cluster`)
  await phone.page.waitForFunction(() => document.querySelectorAll('#servers tbody tr').length === 2 && Number(document.body.dataset.points) > 0)
  t.equal(await phone.page.evaluate(() => document.documentElement.scrollWidth), 390, 'nothing sticks out')
  const shades = (page: Page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  t.not(await shades(phone.page), await shades(page), 'dark where the visitor wants it')
  t.same(phone.complaints, [])

  two!.redisLink.on('down', () => {})
  await one!.redisLink.close()
  await page.waitForFunction(() => document.getElementById('status')?.textContent === 'degraded')
  t.match(await page.locator('#notice').textContent(), /^Only the instance that answers is known/)
  if (PICTURES !== null) mkdirSync(PICTURES, { recursive: true })
})
