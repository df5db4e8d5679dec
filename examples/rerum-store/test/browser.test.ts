import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Page } from 'playwright-core'
import t from 'tap'
import { freePort } from '../../../scripts/servers/free-port.js'
import { browser } from '../../../test/helpers/browser.ts'
import { ALICE, store, tokenFor } from './helper.ts'

const CLIENT = readFileSync(new URL('fixtures/client.html', import.meta.url))

t.setTimeout(180_000)

t.test('a page of another origin creates, queries, updates, overwrites over what somebody else saved, and shows the history', async (t) => {
  const port = await freePort()
  const address = `http://127.0.0.1:${port}`
  const [app, visit] = await Promise.all([store(t, { PUBLIC_URL: address }), browser(t)])
  await app.listen({ port, host: '127.0.0.1' })
  const pages = createServer((_request, response) => response.setHeader('content-type', 'text/html').end(CLIENT))
  await new Promise<void>((resolve) => { pages.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { pages.closeAllConnections(); pages.close() })
  const origin = `http://localhost:${(pages.address() as AddressInfo).port}`
  const known = new URLSearchParams({ store: address, token: tokenFor(ALICE), canvas: 'https://example.org/canvas/1', profile: 'http://iiif.io/api/presentation/3/context.json' })
  const open = async () => {
    const { page, complaints } = await visit()
    await page.goto(`${origin}/#${known.toString()}`)
    await page.locator('body[data-ready]').waitFor()
    return { page, complaints }
  }
  /** Presses a button, and waits for what the page then says. */
  const press = async (page: Page, button: string, state: string, text?: string) => {
    if (text !== undefined) await page.getByLabel('Text').fill(text)
    await page.getByRole('button', { name: button, exact: true }).click()
    await page.locator('#state', { hasText: state }).waitFor()
  }

  const ada = await open()
  await press(ada.page, 'Create', '201 true', 'one')
  t.match(await ada.page.locator('#address').innerText(), address)
  await press(ada.page, 'Update', '200 true', 'two')

  const bob = await open()
  await press(bob.page, 'Open', 'AnnotationPage false true')
  t.equal(await bob.page.getByLabel('Text').inputValue(), 'two', 'the newest version, by a query')
  await press(ada.page, 'Overwrite', '200', 'two, by Ada')
  await press(bob.page, 'Overwrite', '409', 'two, by Bob')
  t.equal(await bob.page.getByLabel('Text').inputValue(), 'two, by Ada', 'he sees what he would have lost')
  await press(bob.page, 'Overwrite', '200', 'two, by both')

  await press(bob.page, 'History', 'history 200')
  t.same(await bob.page.locator('#found li').allInnerTexts(), ['one'])
  t.same(ada.complaints, [])
  // The browser itself reports a refused overwrite.
  t.same(bob.complaints.filter((complaint) => !complaint.includes('status of 409')), [])
})
