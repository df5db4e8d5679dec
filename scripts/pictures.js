import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { ROOT, say } from './bootstrap.js'
import { chromiumBinary } from './servers/binaries.js'

// node scripts/pictures.js http://127.0.0.1:3000 ADMIN-PASSWORD
// The pictures of the documentation, of a fresh site that runs: two people on the live page, what an administrator sees, and each
// page on a desktop, on a phone, and in the dark.

const [address, password] = process.argv.slice(2)
if (address === undefined || password === undefined) {
  process.stderr.write('usage: node scripts/pictures.js URL ADMIN-PASSWORD\n')
  process.exit(1)
}

/** @typedef {import('playwright-core').Page} Page */

const FORMS = Object.entries({ desktop: {}, phone: { width: 390, height: 844 }, dark: { dark: true } })
/** These are for who is not signed in. */
const VISITORS = Object.entries({ 'sign-in': '/sign-in', 'sign-up': '/sign-up' })
const PAGES = Object.entries({
  home: '/',
  guestbook: '/guestbook',
  users: '/users',
  analytics: '/analytics/',
  cluster: '/hello-app-cluster/',
  websocket: '/hello-websocket/',
  docs: '/docs',
  try: '/docs/try',
  'try-one': '/docs/try#/features/getFeaturesByName',
  profile: '/profile',
  devices: '/devices',
  admin: '/admin/',
  'admin-users': '/admin/users',
  'admin-sessions': '/admin/users/grace/sessions',
  'admin-websockets': '/admin/websockets',
  'admin-audit': '/admin/audit',
  'admin-cluster': '/admin/cluster'
})

const browser = await chromium.launch({ executablePath: chromiumBinary(say), args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars'] })
try {
  const [ada, grace, admin] = [await visitor(), await visitor(), await visitor()]
  await signUp(ada, 'ada')
  await signUp(grace, 'grace')
  await signIn(admin, 'admin', password)
  await guestBook(await visitor())
  await live(ada, grace)
  await take(ada, '/users?sort=-joinedAt&limit=12', 'users')
  // The first report on a busy machine may take longer than the database's time limit.
  while ((await ada.request.get(`${address}/api/1/analytics/performance`)).status() !== 200) await ada.waitForTimeout(1000)
  await take(ada, '/analytics/', 'analytics')
  await take(ada, '/devices', 'devices')
  await take(admin, '/admin/', 'admin', 900)
  await take(await visitor(), '/', 'home')
  await take(await visitor({ width: 390, height: 844, dark: true }), '/', 'phone', 844)
  await endpoint(admin)
  for (const [form, options] of FORMS) await each(form, await visitor(options))
} finally {
  await browser.close()
}

/** @param {{ width?: number, height?: number, dark?: boolean }} [options] */
async function visitor ({ width = 1280, height = 800, dark = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light' })
  return context.newPage()
}

/** @param {Page} page @param {string} path @param {string} name @param {number} [height] of the picture; all of the page where it is not given */
async function take (page, path, name, height) {
  if (path !== '') await page.goto(address + path, { waitUntil: 'load' })
  const file = join(ROOT, `docs/images/site-${name}.png`)
  const width = page.viewportSize()?.width ?? 0
  await page.screenshot({ path: file, ...(height === undefined ? { fullPage: true } : { clip: { x: 0, y: 0, width, height }, fullPage: true }) })
  say(file)
}

/** One screen of each page, as an administrator sees it. @param {string} form @param {Page} page */
async function each (form, page) {
  for (const [name, path] of VISITORS) await screen(form, page, name, path)
  await signIn(page, 'admin', /** @type {string} */ (password))
  for (const [name, path] of PAGES) await screen(form, page, name, path)
}

/** @param {string} form @param {Page} page @param {string} name @param {string} path */
async function screen (form, page, name, path) {
  // A page with another fragment alone is not loaded.
  await page.goto('about:blank')
  await page.goto(address + path, { waitUntil: 'load' })
  if (path.includes('#')) await page.locator('.execute').waitFor()
  // Pages with sockets show when they are connected, and the dashboard when it has its first numbers.
  await page.waitForTimeout(1500)
  const file = join(ROOT, `docs/images/pages/${name}-${form}.jpg`)
  await page.screenshot({ path: file, type: 'jpeg', quality: 70 })
  say(file)
}

/** @param {Page} page */
async function endpoint (page) {
  await page.goto(`${address}/admin/websockets`)
  await page.getByLabel('Name', { exact: true }).fill('orders')
  await page.getByLabel('Who is connected may send to all').check()
  await Promise.all([page.waitForURL(/done=/), page.getByRole('button', { name: 'Open the endpoint' }).click()])
}

/** @param {Page} page @param {string} username */
async function signUp (page, username) {
  await page.goto(`${address}/sign-up`)
  await page.getByLabel('User name').fill(username)
  await page.getByLabel('E-mail').fill(`${username}@example.org`)
  await page.getByLabel('Password').fill('a password for a picture')
  await Promise.all([page.waitForURL(`${address}/`), page.getByRole('button', { name: 'Sign up' }).click()])
}

/** @param {Page} page @param {string} username @param {string} password */
async function signIn (page, username, password) {
  await page.goto(`${address}/sign-in`)
  await page.getByLabel('User name or e-mail').fill(username)
  await page.getByLabel('Password').fill(password)
  await Promise.all([page.waitForURL(`${address}/`), page.getByRole('button', { name: 'Sign in' }).click()])
}

/** @param {Page} page */
async function guestBook (page) {
  for (const [name, message] of /** @type {const} */ ([['Radia', 'I came by way of another worker, and found you all.'], ['Edsger', 'The shortest path led here.']])) {
    await page.goto(`${address}/guestbook`)
    await page.getByLabel('Your name').fill(name)
    await page.getByLabel('Your message').fill(message)
    await Promise.all([page.waitForURL(/signed/), page.getByRole('button', { name: 'Sign the book' }).click()])
  }
}

/** @param {Page} one @param {Page} two */
async function live (one, two) {
  for (const page of [one, two]) {
    await page.goto(`${address}/hello-websocket/`)
    await page.locator('[data-todo-status]', { hasText: 'connected' }).waitFor()
    await page.locator('[data-emoji-status]', { hasText: 'connected' }).waitFor()
    await page.getByRole('button', { name: 'Enter' }).click()
    await page.getByText('You are in lobby.').waitFor()
  }
  for (const text of ['Reload the workers while everybody is here', 'Kill one of them', 'Look whether anything is missing']) {
    await one.getByLabel('New item').fill(text)
    await one.getByRole('button', { name: 'Add' }).click()
    await two.locator('[data-todos] li', { hasText: text }).waitFor()
  }
  await two.getByRole('checkbox').first().check()
  await two.getByLabel('Say').fill('Which worker are you on?')
  await two.getByRole('button', { name: 'Say' }).click()
  await one.getByRole('button', { name: 'Ask the worker' }).click()
  await one.getByText('answered in').waitFor()
  await two.locator('[data-stage]').scrollIntoViewIfNeeded()
  const stage = await two.locator('[data-stage]').boundingBox()
  if (stage === null) throw new Error('there is no stage')
  await two.mouse.move(stage.x + stage.width * 0.62, stage.y + stage.height * 0.35, { steps: 5 })
  await two.waitForTimeout(200)
  await two.mouse.move(stage.x + stage.width * 0.63, stage.y + stage.height * 0.36)
  await one.locator('.cursor').waitFor()
  for (const emoji of ['☕', '✈️', '❤️']) await two.getByRole('button', { name: `Send ${emoji}` }).click()
  await one.getByText('grace sent ❤️').waitFor()
  await take(one, '', 'websocket')
}
