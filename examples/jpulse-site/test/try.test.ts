import t from 'tap'
import { site } from '../../../test/helpers/index.ts'
import { browser } from '../../../test/helpers/browser.ts'

t.test('the API is tried on a page, under a policy that allows nothing inline, also below a path', async (t) => {
  const visit = await browser(t)
  for (const base of ['', '/shop']) {
    const { address } = await site(t, { workers: 0, env: { BASE_PATH: base } })
    const { page, complaints } = await visit()
    await page.goto(`${address}${base}/docs`)
    await page.getByRole('link', { name: 'Try requests' }).click()
    const tag = page.locator('.opblock-tag-section', { has: page.locator('#operations-tag-features') })
    await tag.locator('.opblock-tag').click()
    await tag.locator('.opblock-get .opblock-summary-control').first().click()
    await tag.locator('.parameters input').first().fill('banner')
    await tag.locator('.execute').click()
    t.match(await tag.locator('.live-responses-table tbody .response-col_status').first().textContent(), '200', base)
    t.same(complaints, [])
  }
})
