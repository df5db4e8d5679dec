import t, { type Test } from 'tap'
import { sharedRedis, uniqueName, waitFor, workers, type Worker } from '../../../test/helpers/index.ts'
import type { EndedSessions } from '../src/index.ts'

const COUNT = 4

interface Site { processes: Worker[], urls: string[] }

async function site (t: Test, siteId: string): Promise<Site> {
  const processes = await workers(t, COUNT, new URL('fixtures/site-worker.js', import.meta.url), { env: { URL: sharedRedis(), SITE: siteId } })
  return { processes, urls: await Promise.all(processes.map((process) => process.call<string>('address'))) }
}

async function logIn (url: string, user: string): Promise<string> {
  const response = await post(`${url}/login`, { user })
  return response.headers.get('set-cookie')!.split(';')[0]!
}

const post = (url: string, body: object) => fetch(url, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })
const who = async (url: string, cookie: string) => (await (await fetch(`${url}/me`, { headers: { cookie } })).json() as { userId?: string }).userId

t.test('a login on one process is known on each other one, and after all of them were restarted', async (t) => {
  const siteId = uniqueName()
  const first = await site(t, siteId)
  const cookie = await logIn(first.urls[0]!, 'u')
  for (const url of first.urls) t.equal(await who(url, cookie), 'u')
  for (const process of first.processes) process.kill('SIGKILL')
  await Promise.all(first.processes.map(({ exited }) => exited))
  const second = await site(t, siteId)
  for (const url of second.urls) t.equal(await who(url, cookie), 'u')
})

t.test('logout-all is in force on every process before its response leaves, and each hears of it', async (t) => {
  const { processes, urls } = await site(t, uniqueName())
  await waitFor(async () => (await Promise.all(processes.map((process) => process.call<number>('members')))).every((members) => members === COUNT), { timeoutMs: 20_000 })
  for (let trial = 0; trial < 20; trial++) {
    const cookies = await Promise.all(urls.map((url) => logIn(url, `u${trial}`)))
    const other = await logIn(urls[trial % COUNT]!, `other${trial}`)
    await post(`${urls[trial % COUNT]}/logout-all`, { user: `u${trial}` })
    const seen = await Promise.all(cookies.flatMap((cookie) => urls.map((url) => who(url, cookie))))
    t.same(seen.filter((user) => user !== undefined), [], 'refused everywhere')
    t.equal(await who(urls[(trial + 1) % COUNT]!, other), `other${trial}`)
  }
  for (const process of processes) {
    const heard = await waitFor(async () => {
      const heard = await process.call<EndedSessions[]>('heard')
      return heard.length === 20 && heard
    }, { what: 'the broadcasts' })
    t.ok(heard.every(({ reason, handles }, trial) => reason === 'logout-all' && handles.length === COUNT && heard[trial]!.userId === `u${trial}`))
  }
})
