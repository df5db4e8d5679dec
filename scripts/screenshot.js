import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import { say } from './bootstrap.js'
import { chromiumBinary } from './servers/binaries.js'

// node scripts/screenshot.js http://127.0.0.1:3000/ docs/images/site-home.png [--width 1400] [--dark]
// A picture of a page of a site that runs.

const { positionals: [url, file], values } = parseArgs({
  allowPositionals: true,
  options: { width: { type: 'string', default: '1400' }, dark: { type: 'boolean', default: false } }
})
if (url === undefined || file === undefined) {
  process.stderr.write('usage: node scripts/screenshot.js URL FILE [--width 1400] [--dark]\n')
  process.exit(1)
}

const browser = await chromium.launch({ executablePath: chromiumBinary(say), args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars'] })
try {
  const page = await browser.newPage({ viewport: { width: Number(values.width), height: 900 }, colorScheme: values.dark ? 'dark' : 'light' })
  await page.goto(url, { waitUntil: 'load' })
  mkdirSync(dirname(file), { recursive: true })
  await page.screenshot({ path: file, fullPage: true })
  say(file)
} finally {
  await browser.close()
}
