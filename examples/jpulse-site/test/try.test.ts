import t from 'tap'
import { site, waitFor } from '../../../test/helpers/index.ts'
import { browser, violations } from '../../../test/helpers/browser.ts'

t.test('the API is tried on a page, under a policy that allows nothing inline, also below a path; what is large is loaded once somebody does', async (t) => {
  const visit = await browser(t)
  for (const base of ['', '/shop']) {
    const { address } = await site(t, { workers: 0, env: { BASE_PATH: base } })
    const { page, complaints } = await visit()
    const asked: string[] = []
    page.on('request', (request) => asked.push(new URL(request.url()).pathname))
    await page.goto(`${address}${base}/docs`)
    await page.getByRole('link', { name: 'Try requests' }).click()
    const link = page.getByRole('link', { name: 'GET /api/1/features/{name}', exact: true })
    await link.waitFor()
    t.same(asked.filter((path) => path.includes('swagger')), [], 'nobody has asked for it yet')
    t.same(await violations(page), [], 'nothing that axe finds')
    await link.focus()
    await page.keyboard.press('Enter')
    const operation = page.locator('#operations-features-getFeaturesByName')
    await waitFor(async () => await page.evaluate('document.activeElement.textContent') === 'GET/api/1/features/{name}', { what: 'the operation to have the focus', timeoutMs: 30_000 })
    t.equal(await link.isVisible(), false)
    await operation.locator('.parameters input').first().fill('banner')
    await operation.locator('.execute').click()
    t.match(await operation.locator('.live-responses-table tbody .response-col_status').first().textContent(), '200', base)
    t.same(await violations(page), [], 'nothing that axe finds in Swagger UI')

    // A link to one operation.
    await page.goto(`${address}${base}/docs`)
    await page.locator('summary', { hasText: '/api/1/auth/status' }).click()
    await page.getByRole('link', { name: 'Try GET /api/1/auth/status' }).click()
    await waitFor(async () => await page.evaluate('document.activeElement.textContent') === 'GET/api/1/auth/status', { what: 'this one to have the focus', timeoutMs: 30_000 })
    t.ok(await page.evaluate('document.activeElement.getBoundingClientRect().top < innerHeight'), 'and to be seen')
    t.same(complaints, [])

    await page.goto(`${address}${base}/docs/try`)
    await page.route('**/swagger-ui-bundle.js', (route) => route.abort())
    await link.click()
    await page.getByText('Swagger UI could not be loaded.').waitFor()
    await page.unroute('**/swagger-ui-bundle.js')
    await page.getByRole('link', { name: 'GET /api/1/auth/status', exact: true }).click()
    await page.locator('#operations-auth-getAuthStatus .execute').waitFor()
    const { headers } = await fetch(`${address}${base}/assets/swagger-ui/swagger-ui-bundle.js`)
    t.equal(headers.get('cache-control'), 'public, max-age=86400')
  }
})
