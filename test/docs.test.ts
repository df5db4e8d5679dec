import { execFile } from 'node:child_process'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { dirname, extname, join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { cleanEnv, ROOT } from '../scripts/bootstrap.js'
import { errorsPage } from '../scripts/docs/errors.js'
import { browser } from './helpers/browser.ts'

const SITE = join(ROOT, 'docs/site/dist')

t.test('docs/errors.md is what the sources say', (t) => {
  t.equal(readFileSync(join(ROOT, 'docs/errors.md'), 'utf8'), errorsPage(), 'npm run docs -- --errors writes it')
  t.end()
})

t.test('each code that a table of a README lists is one of the sources', (t) => {
  const known = new Set([...errorsPage().matchAll(/^\| `(\w+)`/gm)].map(([, code]) => code!))
  for (const name of readdirSync(join(ROOT, 'packages'))) {
    const listed = [...readFileSync(join(ROOT, 'packages', name, 'README.md'), 'utf8').matchAll(/^\| `(FST_ERR_[A-Z_]+)`/gm)].map(([, code]) => code!)
    t.same(listed.filter((code) => !known.has(code)), [], name)
  }
  t.end()
})

t.test('npm run docs builds a site whose every link leads somewhere, and that finds what one looks for', async (t) => {
  await promisify(execFile)('npm', ['run', 'docs'], { cwd: ROOT, env: cleanEnv(), maxBuffer: 2 ** 24 })
  const pages = readdirSync(SITE, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.html'))
  for (const name of readdirSync(join(ROOT, 'packages'))) t.ok(pages.includes(join('packages', name, 'index.html')), name)
  for (const name of ['which-package', 'errors', 'deployment', 'migrating/socket-io', 'migrating/connect-redis', 'migrating/bentocache', 'migrating/fastify-metrics', 'migrating/mongo-cursor-pagination']) t.ok(pages.includes(`guide/${name}.html`), name)
  const html = new Map(pages.map((page) => [page, readFileSync(join(SITE, page), 'utf8')]))
  const anchors = new Map([...html].map(([page, text]) => [page, new Set([...text.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id!))]))
  const fileAt = (path: string) => [path, `${path}.html`, join(path, 'index.html')].find((file) => existsSync(join(SITE, file)) && statSync(join(SITE, file)).isFile())
  for (const [page, text] of html) {
    for (const [, target] of text.matchAll(/ (?:href|src)="([^"]+)"/g)) {
      if (/^(?:[a-z]+:|\/\/)/.test(target!)) continue
      const [path = '', anchor] = decodeURIComponent(target!).split('#')
      const file = path === '' ? page : fileAt(path.startsWith('/') ? path.slice(1) : join(dirname(page), path))
      if (file === undefined) t.fail(`${page}: ${target}`)
      else if (anchor !== undefined && anchor !== '' && anchors.has(file) && !anchors.get(file)!.has(anchor)) t.fail(`${page}: there is no ${target}`)
    }
  }

  const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' }
  const server = createServer(({ url = '/' }, response) => {
    const file = fileAt(decodeURIComponent(url.split('?')[0]!).slice(1))
    response.writeHead(file === undefined ? 404 : 200, { 'content-type': types[extname(file ?? '')] ?? 'application/octet-stream' }).end(file === undefined ? '' : readFileSync(join(SITE, file)))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const { page, complaints } = await (await browser(t))()
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  await page.getByRole('button', { name: 'Search' }).first().click()
  await page.getByPlaceholder('Search').fill('FST_ERR_REDIS_LINK_TIMEOUT')
  await page.locator('.VPLocalSearchBox .result').first().click()
  await page.waitForURL(/guide\/errors|redis-link/)
  t.same(complaints, [])
})
