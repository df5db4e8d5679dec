import t from 'tap'
import { serversEnv, site as siteOf, waitFor } from '../../../test/helpers/index.ts'
import { ADMIN, adminSite, Client, PASSWORD, site } from './helper.ts'
import { ask, session } from './web.ts'

t.setTimeout(240_000)

// What two write at the same moment: MongoDB compares and writes in one step, FerretDB does not.

t.test('administrators on two processes make endpoints and edit a document at the same moment, and none undoes what another did', async (t) => {
  const { address } = await siteOf(t, { workers: 2, env: ADMIN })
  const cookie = await waitFor(() => session(address, '/sign-in', 'admin', PASSWORD), { what: 'the administrator', timeoutMs: 60_000, everyMs: 50 })
  const seen = new Set<string>()
  for (let round = 0; round < 3; round++) {
    const names = Array.from({ length: 6 }, (_, n) => `shop-${round}-${n}`)
    const all = await Promise.all(names.map((name) => ask(`${address}/admin/websockets`, { form: { name, audience: 'users' }, cookie })))
    for (const { worker } of all) seen.add(worker)
    t.same(all.map(({ status }) => status), names.map(() => 303))
    const { text } = await ask(`${address}/admin/websockets`, { cookie })
    t.same(names.filter((name) => !text.includes(`data-namespace="${name}"`)), [], 'those that were answered are there')
  }
  t.equal(seen.size, 2, 'both have taken some')

  // With the version that all have seen one may save, and the others are told.
  for (let round = 0; round < 5; round++) {
    const version = /name="version" value="([^"]*)"><input type="hidden" name="collection" value="config">/.exec((await ask(`${address}/admin/`, { cookie })).text)![1]!
    const all = await Promise.all(Array.from({ length: 6 }, (_, n) => ask(`${address}/admin/config`, { form: { collection: 'config', key: 'site', version, value: JSON.stringify({ footer: `${round}-${n}` }) }, cookie })))
    t.same(all.map(({ status }) => status).sort(), [303, 409, 409, 409, 409, 409], `round ${round}`)
  }
})

t.test('an account is locked while it gets other passwords, on two processes, and stays locked', async (t) => {
  const env = await serversEnv(t)
  const { app: one } = await adminSite(t, 'servers', env)
  const two = await site(t, { ...env, SERVER_ID: '026' })
  await two.ready()
  const undone: string[] = []
  for (let round = 0; round < 10; round++) {
    const username = `ada${round}`
    await new Client(one).signUp(username)
    const before = (await one.documents.users.find(username))!
    const locks = [one.accounts.resetPassword(username, 'admin').then(() => one.accounts.lock(username, 'admin')), one.accounts.resetPassword(username, 'admin').then(() => one.accounts.lock(username, 'admin'))]
    await Promise.all([...locks, ...Array.from({ length: 3 }, () => two.accounts.resetPassword(username, 'admin'))])
    const now = (await one.documents.users.find(username))!
    if (now.locked !== true) undone.push(`${username} is not locked`)
    if (now.hash === before.hash) undone.push(`${username} has the old password`)
  }
  t.same(undone, [])
})
