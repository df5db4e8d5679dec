import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
import { chromiumBinary } from '../../scripts/servers/binaries.js'
import type { Scope } from './scope.ts'

const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP *.test 127.0.0.1']

export interface Visitor {
  readonly page: Page
  /** What a person with the developer tools open would see go wrong: console errors, exceptions, failed requests. */
  readonly complaints: string[]
}

/** A Chromium that ends with the test. Each call of the function it returns is a visitor with connections of its own. */
export async function browser (t: Scope): Promise<(options?: BrowserContextOptions) => Promise<Visitor>> {
  const instance: Browser = await chromium.launch({ executablePath: chromiumBinary(() => {}), args: ARGS, timeout: 60_000 })
  t.teardown(() => instance.close())
  return async (options = {}) => {
    const context = await instance.newContext(options)
    context.setDefaultTimeout(30_000)
    const page = await context.newPage()
    const complaints: string[] = []
    page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(message.text()) })
    page.on('pageerror', (err) => { complaints.push(err.message) })
    page.on('requestfailed', (request) => {
      const reason = request.failure()?.errorText
      // Going to another page gives up what the last one still loaded.
      if (reason !== 'net::ERR_ABORTED') complaints.push(`${request.url()}: ${reason}`)
    })
    page.on('dialog', async (dialog) => { complaints.push(`dialog: ${dialog.message()}`); await dialog.dismiss() })
    return { page, complaints }
  }
}

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js')

/** What axe-core finds on a page: contrast, names, labels, landmarks … */
export async function violations (page: Page): Promise<string[]> {
  await page.evaluate(readFileSync(AXE, 'utf8'))
  // Half way between two colours there is no contrast to speak of.
  await page.evaluate('Promise.allSettled(document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime !== Infinity).map((one) => one.finished)).then(() => {})')
  const { violations } = await page.evaluate('axe.run()') as { violations: Array<{ id: string, nodes: Array<{ html: string }> }> }
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`)
}
