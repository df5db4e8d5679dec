import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import { say } from './bootstrap.js'
import { chromiumBinary } from './servers/binaries.js'

// node scripts/screenshot.js http://127.0.0.1:3000/ docs/images/site-home.png [--width 1400] [--height 900] [--dark] [--screen] [--as admin:PASSWORD]
// A picture of a page of a site that runs, of all of it or of one screen; --as signs in first.

const { positionals: [url, file], values } = parseArgs({
  allowPositionals: true,
  options: { width: { type: 'string', default: '1400' }, height: { type: 'string', default: '900' }, dark: { type: 'boolean', default: false }, screen: { type: 'boolean', default: false }, as: { type: 'string' } }
})
if (url === undefined || file === undefined) {
  process.stderr.write('usage: node scripts/screenshot.js URL FILE [--width 1400] [--height 900] [--dark] [--screen] [--as USER:PASSWORD]\n')
  process.exit(1)
}

const browser = await chromium.launch({ executablePath: chromiumBinary(say), args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars'] })
try {
  const page = await browser.newPage({ viewport: { width: Number(values.width), height: Number(values.height) }, colorScheme: values.dark ? 'dark' : 'light' })
  if (values.as !== undefined) await signIn(page, url, values.as)
  await page.goto(url, { waitUntil: 'load' })
  // Pages with sockets show when they are connected, and the dashboard when it has its first numbers.
  await page.waitForTimeout(3000)
  mkdirSync(dirname(file), { recursive: true })
  await page.screenshot({ path: file, fullPage: !values.screen })
  say(file)
} finally {
  await browser.close()
}

/** @param {import('playwright-core').Page} page @param {string} url @param {string} account */
async function signIn (page, url, account) {
  const [username = '', password = ''] = account.split(/:(.*)/s)
  await page.goto(new URL('/sign-in', url).href)
  await page.getByLabel('User name or e-mail').fill(username)
  await page.getByLabel('Password').fill(password)
  await Promise.all([page.waitForURL((to) => to.pathname === '/'), page.getByRole('button', { name: 'Sign in' }).click()])
}
