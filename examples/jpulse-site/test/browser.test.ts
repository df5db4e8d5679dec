import t, { type Test } from 'tap'
import { browser, type Visitor } from '../../../test/helpers/browser.ts'
import { site, waitFor, type TestSite } from '../../../test/helpers/index.ts'

t.setTimeout(180_000)

const HOSTILE = '<script>document.title="owned"</script><img src=x onerror=alert(1)>'

const text = async ({ page }: Visitor, id: string) => (await page.getByTestId(id).textContent() ?? '').trim()
const visits = async (visitor: Visitor) => Number((await text(visitor, 'visits')).replace(/,/g, ''))

/** What a visitor does, whatever runs behind the site. */
async function signsTheBook (t: Test, { address }: TestSite, visitor: Visitor) {
  const { page, complaints } = visitor
  const answer = await page.goto(address)
  t.equal(await text(visitor, 'worker'), answer?.headers()['x-worker'], 'the page names the worker that sent it')
  const first = await visits(visitor)
  await page.reload()
  t.equal(await visits(visitor), first + 1)

  await page.getByLabel('Your name').fill('Ada <b>Lovelace</b>')
  await page.getByLabel('Your message').fill(`${HOSTILE}\nsecond line`)
  await page.getByRole('button', { name: 'Sign the book' }).click()
  await page.waitForURL(`${address}/guestbook?signed`)
  t.ok(await page.getByText('Thank you, your entry is in the book.').isVisible())
  const entry = page.getByRole('listitem').filter({ hasText: 'Ada' })
  t.equal(await entry.locator('.message').innerText(), `${HOSTILE}\nsecond line`)
  t.equal(await entry.locator('strong').innerText(), 'Ada <b>Lovelace</b>')
  await page.reload()
  t.equal(await page.getByRole('listitem').filter({ hasText: 'Ada' }).count(), 1, 'a reload posts nothing')
  t.same(complaints, [])

  await page.getByLabel('Your name').fill('   ')
  await page.getByLabel('Your message').fill('blanks are no name')
  await page.getByRole('button', { name: 'Sign the book' }).click()
  t.ok(await page.getByText('Please give a name of 1 to 80 characters.').isVisible())
  t.equal(await page.getByLabel('Your message').inputValue(), 'blanks are no name')
  // The browser reports the 400 itself.
  t.same(complaints.filter((complaint) => !complaint.includes('status of 400')), [])
}

async function fitsEveryScreen (t: Test, { address }: TestSite, visit: Awaited<ReturnType<typeof browser>>) {
  for (const width of [320, 390, 1400]) {
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page, complaints } = await visit({ viewport: { width, height: 800 }, colorScheme })
      for (const path of ['/', '/guestbook', '/nowhere']) {
        await page.goto(address + path)
        const overflow = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')
        t.equal(overflow, 0, `${path} at ${width} px, ${colorScheme}`)
      }
      t.same(complaints.filter((complaint) => !complaint.includes('status of 404')), [])
      await page.context().close()
    }
  }
}

t.test('two PM2 workers: visitors of both see one counter and one guest book', async (t) => {
  const [cluster, visit] = await Promise.all([site(t, { workers: 2 }), browser(t)])
  const author = await visit()
  await signsTheBook(t, cluster, author)

  const counts: number[] = []
  const met = new Set<string>()
  await waitFor(async () => {
    const visitor = await visit()
    await visitor.page.goto(cluster.address)
    met.add(await text(visitor, 'worker'))
    counts.push(await visits(visitor))
    t.ok(await visitor.page.getByRole('listitem').filter({ hasText: 'Ada' }).isVisible(), 'the entry is there, whichever worker answers')
    t.same(visitor.complaints, [])
    await visitor.page.context().close()
    // Connections go to the workers in turn, and a browser opens an even number of them: one more changes whose turn it is.
    await fetch(`${cluster.address}/health/live`, { headers: { connection: 'close' } })
    return met.size === 2
  }, { what: 'both workers to answer a browser', timeoutMs: 60_000 })
  t.same([...met].sort(), ['test:0', 'test:1'])
  t.same(counts, counts.map((_, index) => counts[0]! + index), 'each visit counts one, on whichever worker')
  await author.page.request.post(`${cluster.address}/api/1/guestbook`, { data: { name: 'n'.repeat(80), message: 'm'.repeat(1000) } })
  await fitsEveryScreen(t, cluster, visit)
})

t.test('embedded, one process: the same pages', async (t) => {
  const [single, visit] = await Promise.all([site(t, { workers: 0 }), browser(t)])
  const visitor = await visit()
  await signsTheBook(t, single, visitor)
  await visitor.page.goto(single.address)
  t.ok(await visitor.page.getByText('Embedded mode').isVisible())
  t.equal(await text(visitor, 'worker'), 'test:0')
})
