import t from 'tap'
import { browser, type Visitor } from '../../../test/helpers/browser.ts'
import { redisServer, site, waitFor } from '../../../test/helpers/index.ts'
import { ADMIN, PASSWORD } from './helper.ts'
import { LiveSocket } from './socket.ts'
import { ask, fromAll, session } from './web.ts'

const WORKERS = 4
const SECRET = 'a secret of the tests that no log may show'
const HOSTILE = '<img src=x onerror=alert(1)><script>document.title="owned"</script>'
const slow = { timeoutMs: 60_000, everyMs: 50 }

t.setTimeout(600_000)

t.test('four PM2 workers, Redis, MongoDB and Chromium', async (t) => {
  const redis = await redisServer(t)
  const cluster = await site(t, { workers: WORKERS, env: { ...ADMIN, REDIS_URL: redis.url, SEED_PEOPLE: '10000', SESSION_SECRET: SECRET, LOG_LEVEL: 'debug' } })
  const { address } = cluster
  const visit = await browser(t)
  const admin = await waitFor(() => session(address, '/sign-in', 'admin', PASSWORD), { what: 'the administrator', ...slow })
  const signedIn = async (path: '/sign-up' | '/sign-in', username: string) => {
    const visitor = await visit()
    await sign(visitor, address, path, username)
    return visitor
  }

  await t.test('two browsers of one user share a list and emoji, whichever worker each is on', async (t) => {
    const [one, two] = [await signedIn('/sign-up', 'ada'), await signedIn('/sign-in', 'ada')]
    await one.page.goto(`${address}/devices`)
    t.equal(await one.page.locator('.devices li').count(), 2)
    t.equal(await one.page.getByText('this one').count(), 1)

    for (const { page } of [one, two]) {
      await page.goto(`${address}/hello-websocket/`)
      await page.locator('[data-todo-status]', { hasText: 'connected' }).waitFor()
      await page.locator('[data-emoji-status]', { hasText: 'connected' }).waitFor()
    }
    await one.page.getByLabel('New item').fill(HOSTILE)
    await one.page.getByRole('button', { name: 'Add' }).click()
    const item = two.page.locator('[data-todos] li')
    await item.waitFor()
    t.equal(await item.locator('label span').textContent(), HOSTILE, 'what somebody typed is text')
    await item.getByRole('checkbox').check()
    await one.page.locator('[data-todos] li.done').waitFor()
    await two.page.getByRole('button', { name: 'Send ☕' }).click()
    await one.page.getByText('ada sent ☕').waitFor()
    await two.page.getByRole('button', { name: /^Remove/ }).click()
    await waitFor(async () => await one.page.locator('[data-todos] li').count() === 0, slow)
    await one.page.getByRole('button', { name: 'Ask the worker' }).click()
    await one.page.getByText(/Worker test:\d answered in/).waitFor()

    await one.page.goto(`${address}/hello-app-cluster/`)
    await one.page.getByLabel('Send to all processes').fill('to everybody')
    await one.page.getByRole('button', { name: 'Send' }).click()
    await one.page.getByText('Heard by test:0, test:1, test:2, test:3').waitFor()
    await two.page.locator('[data-notices]', { hasText: 'ada: to everybody' }).waitFor()

    // The other browser is on a page with sockets: it is closed without anybody touching it.
    await one.page.goto(`${address}/devices`)
    await Promise.all([one.page.waitForURL(`${address}/`), one.page.getByRole('button', { name: 'Sign out everywhere' }).click()])
    await two.page.waitForURL(/\/sign-in/, { timeout: 60_000 })
    for (const { page } of [one, two]) {
      await page.goto(`${address}/profile`)
      t.match(page.url(), '/sign-in?next=%2Fprofile')
    }
    t.same(complaints(one), [])
    t.same(complaints(two), [])
  })

  await t.test('a hundred edits of a flag and a template: the very next read of any worker has it', async (t) => {
    let stale = 0
    let reads = 0
    for (let n = 0; n < 100; n++) {
      const flag = n % 2 === 0
      const put = flag
        ? await ask(`${address}/api/1/features/banner`, { method: 'PUT', json: { enabled: true, n }, cookie: admin })
        : await ask(`${address}/api/1/admin/templates/welcome`, { method: 'PUT', json: { body: `edit number ${n}.` }, cookie: admin })
      if (put.status !== 200) throw new Error(`edit ${n}: ${put.status} ${put.text}`)
      const answers = await fromAll(flag ? `${address}/api/1/features/banner` : `${address}/`, WORKERS)
      reads += answers.length
      stale += answers.filter(({ text }) => !text.includes(flag ? `"n":${n}}` : `edit number ${n}.`)).length
    }
    t.equal(stale, 0, `of ${reads} reads`)
  })

  await t.test('an endpoint that an administrator makes is there on all workers when the form is answered, and gone from all', async (t) => {
    const statuses = async () => [...new Set((await fromAll(`${address}/api/1/ws/shop`, WORKERS, { cookie: admin })).map(({ status }) => status))]
    t.same(await statuses(), [404])
    t.match((await ask(`${address}/admin/websockets`, { form: { name: 'shop', audience: 'users', sending: 'on' }, cookie: admin })).headers.location, 'shop+is+open%2C+on+every+worker')
    t.same(await statuses(), [426], 'what a plain request is answered where a WebSocket would open')
    const sockets = Array.from({ length: 2 * WORKERS }, () => new LiveSocket(t, address, 'shop', admin))
    await waitFor(() => sockets.every(({ isOpen }) => isOpen), { what: 'the sockets', ...slow })
    sockets[0]!.send({ type: 'broadcast', data: 'hello' })
    await waitFor(() => sockets.slice(1).every((socket) => socket.of('broadcast').length === 1), { what: 'a message on each', ...slow })
    t.match((await ask(`${address}/admin/websockets/remove`, { form: { name: 'shop' }, cookie: admin })).headers.location, 'shop+is+removed%2C+on+every+worker')
    t.same(await statuses(), [404])
    await waitFor(() => sockets.every(({ closes }) => closes[0] === 1001), { what: 'the end of each', ...slow })
    for (const socket of sockets) socket.stop()
  })

  await t.test('the dashboard shows four instances; a killed one disappears and its successor comes', async (t) => {
    const { page, complaints } = await signedIn('/sign-in', 'admin')
    await page.goto(`${address}/admin/cluster`)
    await waitFor(async () => await page.locator('#servers tbody tr').count() === WORKERS, { what: 'four instances on the page', ...slow })
    t.same(complaints, [])
    const pids = async (): Promise<number[]> => {
      const { text } = await ask(`${address}/api/1/metrics`, { cookie: admin })
      return JSON.parse(text).data.servers.flatMap((server: { instances: Array<{ pid: number }> }) => server.instances.map(({ pid }) => pid))
    }
    const [victim] = await waitFor(async () => { const all = await pids(); return all.length === WORKERS && all }, { what: 'four instances', ...slow })
    process.kill(victim!, 'SIGKILL')
    await waitFor(async () => {
      const now = await pids()
      return now.length === WORKERS && !now.includes(victim!)
    }, { what: 'its successor in its place', timeoutMs: 120_000, everyMs: 200 })
    await waitFor(async () => await page.locator('#servers tbody tr').count() === WORKERS, { what: 'four instances on the page again', ...slow })
    await page.goto(`${address}/admin/`)
    await page.getByRole('button', { name: 'Turn on sign-up-closed' }).click()
    await page.getByText('Saved: flag sign-up-closed').waitFor()
    t.equal((await fromAll(`${address}/api/1/features/sign-up-closed`, WORKERS)).filter(({ text }) => !text.includes('"enabled":true')).length, 0)
    await page.getByRole('button', { name: 'Turn off sign-up-closed' }).click()
  })

  await t.test('the listing leads forwards and back over ten thousand people', async (t) => {
    await waitFor(async () => JSON.parse((await ask(`${address}/api/1/analytics/performance`)).text).data?.people === 10_000, { what: 'all people', timeoutMs: 180_000, everyMs: 500 })
    const { page } = await visit()
    const ids = async () => (await page.locator('tbody tr').evaluateAll((rows) => rows.map((row) => (row as unknown as { dataset: { id: string } }).dataset.id)))
    await page.goto(`${address}/users`)
    const seen = [await ids()]
    const follow = async (name: string) => {
      const before = page.url()
      await Promise.all([page.waitForURL((url) => url.href !== before), page.getByRole('link', { name }).click()])
    }
    for (let n = 0; n < 3; n++) {
      await follow('Next')
      seen.push(await ids())
    }
    t.same(seen.flat(), Array.from({ length: 200 }, (_, n) => String(n + 1)))
    for (let n = 2; n >= 0; n--) {
      await follow('Previous')
      t.same(await ids(), seen[n], 'the page before is the page that was before')
    }
    t.equal(await page.getByRole('link', { name: 'Previous' }).count(), 0)
    await page.goto(`${address}/users?sort=-_id`)
    t.equal((await ids())[0], '10000')
    await page.goto(`${address}/analytics/`)
    t.equal(await page.getByTestId('people').textContent(), '10,000')
  })

  await t.test('Redis killed and started again under use: pages answer meanwhile, and all is as before without a restart', async (t) => {
    const cookie = await session(address, '/sign-up', 'bob', PASSWORD)
    const socket = new LiveSocket(t, address, 'hello-todo', cookie)
    await waitFor(() => socket.isOpen, { what: 'the socket', ...slow })
    const pids = JSON.parse(await cluster.pm2('jlist')).map(({ pid }: { pid: number }) => pid)
    await redis.kill()
    await waitFor(async () => (await fromAll(`${address}/health`, WORKERS)).every(({ text }) => text.includes('degraded')), { what: 'every worker to notice', ...slow })
    for (const { status, text } of await fromAll(`${address}/`, WORKERS, { cookie })) {
      t.equal(status, 200)
      t.match(text, /Sign-in is out of reach for the moment[^]*Counted by this worker alone until Redis is back/)
    }
    for (const { status, headers } of await fromAll(`${address}/profile`, WORKERS, { cookie })) {
      t.equal(status, 503, 'what needs the session says so')
      t.ok(headers['retry-after'])
    }
    t.equal((await ask(`${address}/users`)).status, 200)
    t.equal((await ask(`${address}/health/live`)).status, 200)
    t.ok(socket.isOpen, 'no socket is thrown out for it')

    await redis.restart()
    await waitFor(async () => (await fromAll(`${address}/profile`, WORKERS, { cookie })).every(({ status }) => status === 200), { what: 'everybody to be signed in as before', ...slow })
    await waitFor(async () => (await ask(`${address}/api/1/features/banner`, { method: 'PUT', json: { enabled: false, healed: true }, cookie: admin })).status === 200, { what: 'a flag to be written', ...slow })
    t.ok((await fromAll(`${address}/api/1/features/banner`, WORKERS)).every(({ text }) => text.includes('healed')))
    await waitFor(async () => {
      await ask(`${address}/api/1/ws/hello-todo/broadcast`, { json: { type: 'healed' }, cookie: admin })
      return socket.of('healed').length > 0
    }, { what: 'a message from another worker', ...slow })
    t.same(JSON.parse(await cluster.pm2('jlist')).map(({ pid }: { pid: number }) => pid), pids, 'nobody restarted')
  })

  await t.test('no password, cookie or secret is in the log, with all that was logged', async (t) => {
    const log = cluster.output()
    t.ok(log.length > 1000, 'there is something to look at')
    for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), PASSWORD.replaceAll(' ', '+'), SECRET, admin.slice('sessionId='.length), admin.slice('sessionId='.length).split('.')[0]!]) {
      t.notOk(log.includes(secret))
    }
  })
})

async function sign ({ page }: Visitor, address: string, path: '/sign-up' | '/sign-in', username: string): Promise<void> {
  await page.goto(address + path)
  await page.getByLabel('User name').fill(username)
  if (path === '/sign-up') await page.getByLabel('E-mail').fill(`${username}@example.org`)
  await page.getByLabel('Password').fill(PASSWORD)
  await Promise.all([page.waitForURL(`${address}/`), page.getByRole('button', { name: path === '/sign-up' ? 'Sign up' : 'Sign in' }).click()])
}

/** Chromium tells of each refused upgrade and of each 401 itself; both are what is meant to happen after the session's end. */
function complaints (visitor: Visitor): string[] {
  return visitor.complaints.filter((complaint) => !/status of 401|Unexpected response code: 401|status of 303/.test(complaint))
}
