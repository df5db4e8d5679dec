import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { browser, violations } from '../../../test/helpers/browser.ts'
import { site, waitFor } from '../../../test/helpers/index.ts'
import { ADMIN, PASSWORD } from './helper.ts'

const HOSTILE = '<script>document.title="owned"</script><img src=x onerror=alert(1)>'
const PAGES = ['/', '/guestbook', '/users', '/analytics/', '/hello-app-cluster/', '/hello-websocket/', '/docs', '/docs/try', '/profile', '/devices', '/admin/', '/admin/websockets', '/admin/audit', '/admin/users', '/admin/users/admin/sessions', '/admin/cluster', '/nowhere']

t.setTimeout(400_000)

t.test('embedded, one process: every page works, alone, on a phone, by keyboard, in light and in dark', async (t) => {
  const [{ address }, visit] = await Promise.all([site(t, { workers: 0, env: { ...ADMIN, SEED_PEOPLE: '10000' } }), browser(t)])
  const signIn = async (page: Page) => {
    await page.goto(`${address}/sign-in`)
    await page.getByLabel('User name or e-mail').fill('admin')
    await page.getByLabel('Password').fill(PASSWORD)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${address}/`)
  }

  await t.test('the guest book takes what a visitor without an account types, as text', async (t) => {
    const { page, complaints } = await visit()
    await page.goto(address)
    t.ok(await page.getByText('Embedded mode').isVisible())
    await page.getByLabel('Your name').fill('Ada <b>Lovelace</b>')
    await page.getByLabel('Your message').fill(`${HOSTILE}\nsecond line`)
    await page.getByRole('button', { name: 'Sign the book' }).click()
    await page.waitForURL(`${address}/guestbook?signed`)
    const entry = page.getByRole('listitem').filter({ hasText: 'Ada' })
    t.equal(await entry.locator('.message').innerText(), `${HOSTILE}\nsecond line`)
    t.equal(await entry.locator('strong').innerText(), 'Ada <b>Lovelace</b>')
    t.same(complaints, [])
    await page.context().close()
  })

  for (const [width, colorScheme] of [[390, 'light'], [1400, 'dark']] as const) {
    await t.test(`${width} px, ${colorScheme}`, async (t) => {
      const { page, complaints } = await visit({ viewport: { width, height: 800 }, colorScheme })
      for (const path of ['/sign-in', '/sign-up']) await fits(t, page, address + path)
      await waitFor(() => signIn(page).then(() => true), { what: 'the administrator', timeoutMs: 60_000 })
      for (const path of PAGES) {
        await fits(t, page, address + path)
        const broken = await violations(page)
        t.same(broken, [], `nothing that axe finds at ${path}`)
      }
      // The browser itself reports a page that is not there.
      t.same(complaints.filter((complaint) => !complaint.includes('status of 404')), [])
      await page.context().close()
    })
  }

  await t.test('the dashboard is a page of the site: its header, its way back, and what it says', async (t) => {
    const { page, complaints } = await visit()
    await signIn(page)
    await page.goto(`${address}/admin/`)
    await page.getByRole('link', { name: 'Cluster dashboard' }).click()
    await page.locator('#servers tbody tr').first().waitFor()
    t.equal(await page.getByTestId('me').innerText(), 'admin')
    t.equal(await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Admin' }).getAttribute('aria-current'), 'page')
    await page.getByRole('link', { name: '← Admin' }).click()
    await page.waitForURL(`${address}/admin/`)
    t.same(complaints, [])
    await page.context().close()
  })

  await t.test('on a phone the menu is opened and closed by keyboard, and the focus is never lost', async (t) => {
    const { page, complaints } = await visit({ viewport: { width: 390, height: 844 } })
    await page.goto(`${address}/users`)
    const link = page.getByRole('link', { name: 'Analytics' })
    t.equal(await link.isVisible(), false)
    const button = page.getByRole('button', { name: 'Menu' })
    await button.press('Enter')
    await link.waitFor()
    await page.keyboard.press('Tab')
    t.equal(await page.evaluate('document.activeElement.textContent'), 'Home', 'next in order is what was opened')
    await page.keyboard.press('Escape')
    t.equal(await link.isVisible(), false)
    t.equal(await page.evaluate('document.activeElement.textContent'), 'Menu', 'and back where it was')
    await button.click()
    await link.click()
    await page.waitForURL(`${address}/analytics/`)
    t.same(complaints, [])
    await page.context().close()
  })

  await t.test('by plain http at a name of the local network, of which browsers say less: forms are sent, sockets open, nothing complains', async (t) => {
    const { page, complaints } = await visit()
    const lan = address.replace('127.0.0.1', 'shop.test')
    await page.goto(`${lan}/sign-in?next=/admin/`)
    t.equal(await page.evaluate('isSecureContext'), false)
    await page.getByLabel('User name or e-mail').fill('admin')
    await page.getByLabel('Password').fill(PASSWORD)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${lan}/admin/`)
    await page.getByRole('button', { name: 'Turn on banner' }).click()
    await page.waitForURL(/saved=flag/)
    await page.getByRole('button', { name: 'Turn off banner' }).click()
    await page.getByRole('button', { name: 'Turn on banner' }).waitFor()
    await page.goto(`${lan}/hello-websocket/`)
    await page.locator('[data-todo-status]', { hasText: 'connected' }).waitFor()
    t.same(complaints, [])
    await page.context().close()
  })

  await t.test('another tab stays where it is when the password is changed, and leaves when its user is signed out', async (t) => {
    const { page, complaints } = await visit()
    await page.goto(`${address}/sign-up`)
    await page.getByLabel('User name').fill('tess')
    await page.getByLabel('E-mail').fill('tess@example.org')
    await page.getByLabel('Password').fill(PASSWORD)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${address}/`)
    const tab = await page.context().newPage()
    const [left, sockets] = [[] as string[], [] as string[]]
    tab.on('websocket', (socket) => { sockets.push(socket.url()) })
    tab.on('framenavigated', (frame) => { left.push(frame.url()) })
    await tab.goto(`${address}/hello-websocket/`)
    const connected = tab.locator('[data-todo-status]', { hasText: 'connected' })
    await connected.waitFor()
    await tab.locator('#todo-text').fill('half of a thou')
    await page.goto(`${address}/profile`)
    const opened = sockets.length
    await page.getByLabel('Present password').fill(PASSWORD)
    await page.getByLabel(/^New password/).fill('another good one')
    await page.keyboard.press('Enter')
    await page.waitForURL(`${address}/profile?changed`)
    await waitFor(() => sockets.length > opened, { what: 'a socket with the new cookie', timeoutMs: 30_000 })
    await connected.waitFor()
    t.equal(await tab.locator('#todo-text').inputValue(), 'half of a thou')
    t.same(left, [`${address}/hello-websocket/`])
    t.same(complaints, [])
    await page.getByRole('button', { name: 'Sign out' }).first().click()
    await tab.waitForURL(`${address}/sign-in?next=%2Fhello-websocket%2F`)
    await page.context().close()
  })

  await t.test('by keyboard alone: skip to the content, add an item, see it, remove it', async (t) => {
    const { page, complaints } = await visit()
    await signIn(page)
    await page.goto(`${address}/hello-websocket/`)
    await page.locator('[data-todo-status]', { hasText: 'connected' }).waitFor()
    await page.keyboard.press('Tab')
    t.equal(await page.evaluate('document.activeElement.textContent'), 'Skip to content')
    await reach(page, 'todo-text')
    await page.keyboard.type('by hand')
    await page.keyboard.press('Enter')
    await page.locator('[data-todos] li', { hasText: 'by hand' }).waitFor()
    await page.keyboard.press('Tab')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Space')
    await page.locator('[data-todos] li.done').waitFor()
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await waitFor(async () => await page.locator('[data-todos] li').count() === 0, { timeoutMs: 30_000 })
    t.same(complaints, [])
  })
})

async function fits (t: Test, page: Page, url: string): Promise<void> {
  await page.goto(url)
  t.equal(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'), 0, `${url} is not wider than its screen`)
  t.ok(Number(await page.evaluate("document.querySelector('.bar').offsetHeight")) < 80, `${url} has its header in one row`)
}

/** Presses Tab until the element has the focus. */
async function reach (page: Page, id: string): Promise<void> {
  for (let n = 0; n < 60; n++) {
    if (await page.evaluate('document.activeElement.id') === id) return
    await page.keyboard.press('Tab')
  }
  throw new Error(`#${id} cannot be reached with the keyboard`)
}
