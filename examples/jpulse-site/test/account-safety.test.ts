import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Collection } from 'mongodb'
import t from 'tap'
import { serversEnv, waitFor } from '../../../test/helpers/index.ts'
import { hashPassword } from '../src/auth/password.ts'
import type { UserDocument } from '../src/users/mongo-users.ts'
import { ADMIN, adminSite, Client, MODES, PASSWORD, site, siteIn } from './helper.ts'
import { LiveSocket } from './socket.ts'

t.setTimeout(120_000)

for (const mode of MODES) {
  t.test(`${mode}: of two administrators who lock or delete each other at the same moment one is left`, async (t) => {
    const { app } = await adminSite(t, mode)
    const account = (username: string) => ({ username, email: `${username}@example.org`, password: PASSWORD })
    const signedIn = async (username: string) => {
      await app.accounts.ensureAdmin(account(username), app.log)
      const client = new Client(app)
      await client.form('/sign-in', { username, password: PASSWORD })
      return client
    }
    for (const action of ['lock', 'delete']) {
      const [one, other] = [await signedIn('ada'), await signedIn('bob')]
      const statuses = (await Promise.all([one.form('/admin/users', { username: 'bob', action }), other.form('/admin/users', { username: 'ada', action })])).map(({ statusCode }) => statusCode)
      t.equal(statuses.filter((status) => status === 303).length, 1, `${action}: ${statuses}`)
      const left = (await Promise.all(['ada', 'bob'].map((name) => app.documents.users.find(name)))).filter((user) => user !== null && user.locked !== true)
      t.equal(left.length, 1, action)
      for (const name of ['ada', 'bob']) await app.accounts.delete(name, 'admin').catch(() => {})
    }
  })

  t.test(`${mode}: what an administrator had in hand who is locked meanwhile is refused`, async (t) => {
    const { app } = await adminSite(t, mode)
    await app.accounts.ensureAdmin({ username: 'bob', email: 'bob@example.org', password: PASSWORD }, app.log)
    await new Client(app).signUp('ada')
    const bob = new Client(app)
    await bob.form('/sign-in', { username: 'bob', password: PASSWORD })
    const { users } = app.documents
    await users.setLocked('ada', true)
    const before = await users.find('ada')
    for (const action of ['reset', 'unlock']) {
      await users.setLocked('bob', false)
      let asked: ReturnType<Client['form']> | undefined
      // As another administrator does it who locks bob at this moment.
      await app.redisLink.using('administrators', {}, async () => {
        asked = bob.form('/admin/users', { username: 'ada', action })
        await users.setLocked('bob', true)
      })
      t.equal((await asked!).statusCode, 403, action)
      t.same(await users.find('ada'), before, action)
    }
  })

  t.test(`${mode}: an administrator who is locked while a body is on its way changes nothing with it`, async (t) => {
    const { app, admin } = await adminSite(t, mode)
    await app.accounts.ensureAdmin({ username: 'bob', email: 'bob@example.org', password: PASSWORD }, app.log)
    const bob = new Client(app)
    await bob.form('/sign-in', { username: 'bob', password: PASSWORD })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const received = once(app.server, 'request')
    const body = new URLSearchParams({ name: 'banner', enabled: 'true' }).toString()
    const sending = request({
      port: (app.server.address() as AddressInfo).port,
      method: 'POST',
      path: '/admin/features',
      headers: { cookie: bob.cookie, 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length, 'sec-fetch-site': 'same-origin', accept: 'text/html' }
    })
    sending.write(body.slice(0, 5))
    const [incoming] = await received as [IncomingMessage]
    await waitFor(() => incoming.listenerCount('data') > 0, { what: 'the body to be read, by who is let in' })
    t.equal((await admin.form('/admin/users', { username: 'bob', action: 'lock' })).statusCode, 303)
    sending.end(body.slice(5))
    const [response] = await once(sending, 'response') as [IncomingMessage]
    response.resume()
    t.equal(response.statusCode, 401)
    t.notMatch((await new Client(app).get('/')).body, 'data-testid="banner"')
    t.notMatch((await admin.get('/admin/audit?user=bob')).body, 'turned the flag')
  })

  t.test(`${mode}: a name and an address are the same however their letters come`, async (t) => {
    const app = await siteIn(t, mode)
    const [composed, decomposed] = ['ren\u00e9@example.org', 'rene\u0301@example.org']
    const signUp = (username: string, email: string) => new Client(app).form('/sign-up', { username, email, password: PASSWORD })
    t.equal((await signUp('rene', decomposed)).statusCode, 303)
    for (const name of [composed, decomposed, 'REN\u00c9@Example.ORG', ` ${composed}\t`, '\uff52\uff45\uff4e\uff45', '\u3000Rene', `${composed.replace('@', '\uff20')}`]) {
      t.equal((await new Client(app).form('/sign-in', { username: name, password: PASSWORD })).statusCode, 303, JSON.stringify(name))
    }
    t.match(await signUp('renee', composed), { statusCode: 409, body: /This e-mail address is taken/ })
    t.match(await signUp('\uff32ene', 'other@example.org'), { statusCode: 409, body: /This user name is taken/ })
  })

  t.test(`${mode}: who changes the password stays signed in, and a copy of the cookie is worth nothing`, async (t) => {
    const { app, admin } = await adminSite(t, mode)
    const thief = new Client(app)
    for (const [name, value] of admin.cookies) thief.cookies.set(name, value)
    t.match(await thief.status(), { authenticated: true })
    const [before] = await app.sessions.list('admin')
    t.equal((await admin.form('/profile/password', { present: PASSWORD, wanted: 'another good one' })).statusCode, 303)
    t.same(await thief.status(), { authenticated: false })
    t.match(await admin.status(), { authenticated: true, username: 'admin', role: 'admin' })
    t.same((await app.sessions.list('admin')).map(({ handle }) => handle), [before!.handle], 'to people it is the same session')
  })

  t.test(`${mode}: the sockets of the cookie of before a change of the password end at once, and come back with the new one`, async (t) => {
    const { app, admin } = await adminSite(t, mode)
    const address = await app.listen({ port: 0, host: '127.0.0.1' })
    const open = (cookie: string) => new LiveSocket(t, address, 'jpulse-ws-status', cookie)
    const sockets = [open(admin.cookie), open(admin.cookie)]
    await waitFor(() => sockets.every(({ isOpen }) => isOpen), { what: 'a tab, and who has copied its cookie' })
    t.equal((await admin.form('/profile/password', { present: PASSWORD, wanted: 'another good one' })).statusCode, 303)
    await waitFor(() => sockets.every(({ closes }) => closes.length > 0), { what: 'their end' })
    t.same(sockets.map(({ closes }) => closes), [[4401], [4401]])
    const back = open(admin.cookie)
    await waitFor(() => back.isOpen, { what: 'the tab to be back' })
  })
}

t.test('servers: what follows on a change is done also where its lock was lost once it was made', async (t) => {
  const { app, admin } = await adminSite(t, 'servers')
  const ada = new Client(app)
  await ada.signUp('ada')
  const { redisLink, documents: { users } } = app
  const held = new Map<string, AbortSignal>()
  const using = redisLink.using.bind(redisLink)
  redisLink.using = (name, options, work) => using(name, options, (signal, token) => {
    held.set(name, signal)
    return work(signal, token)
  })
  const setLocked = users.setLocked.bind(users)
  users.setLocked = async (...args) => {
    const isThere = await setLocked(...args)
    const lost = once(held.get('account:ada')!, 'abort')
    await redisLink.run((redis) => redis.del(redisLink.key('lock', 'account:ada')))
    await lost
    return isThere
  }
  t.equal((await admin.form('/admin/users', { username: 'ada', action: 'lock' })).statusCode, 303)
  t.match((await ada.get('/profile')).headers.location, '/sign-in', 'her sessions have ended')
})

t.test('an address that the release before stored as it was typed signs in, and is not to be had a second time', async (t) => {
  const app = await siteIn(t, 'servers')
  const [composed, decomposed, wide] = ['ren\u00e9@example.org', 'rene\u0301@example.org', '\uff41da@example.org']
  const { users } = app.documents
  const stored = async (_id: string, email: string) => (users.source() as unknown as Collection<UserDocument>).insertOne({ _id, email, hash: await hashPassword(PASSWORD, 10), role: 'user', createdAt: new Date() })
  await app.ready()
  await users.use(async () => { await Promise.all([stored('rene', decomposed), stored('ada', wide)]) })
  for (const [username, names] of Object.entries({ rene: [composed, decomposed, ` ${decomposed.toUpperCase()}`], ada: [wide, ` ${wide.toUpperCase()}`] })) {
    for (const name of names) {
      const client = new Client(app)
      t.equal((await client.form('/sign-in', { username: name, password: PASSWORD })).statusCode, 303, JSON.stringify(name))
      t.match(await client.status(), { username })
    }
  }
  for (const [n, email] of [composed, decomposed, wide].entries()) {
    t.match(await new Client(app).form('/sign-up', { username: `other${n}`, email, password: PASSWORD }), { statusCode: 409, body: /This e-mail address is taken/ }, JSON.stringify(email))
  }
})

t.test('a new secret signs what is new, and what was open before it is still taken; without the old one everybody signs in anew', async (t) => {
  const [env, old, fresh] = [await serversEnv(t), 'the old secret of thirty-two signs', 'the new secret of thirty-two signs']
  const on = async (SESSION_SECRET: string, from?: Client) => {
    const client = new Client(await site(t, { ...env, ...ADMIN, SESSION_SECRET }))
    for (const [name, value] of from?.cookies ?? []) client.cookies.set(name, value)
    return client
  }
  const tokenOf = async (client: Client) => /name="_csrf" value="([^"]+)"/.exec((await client.get('/profile')).body)?.[1] ?? ''
  /** As browsers of before 2020 and programs send it. */
  const send = async (client: Client, _csrf: string) => (await client.form('/devices/sign-out', { handle: 'nobody', _csrf }, { 'sec-fetch-site': '' })).statusCode
  const ada = await on(old)
  await ada.signUp('ada')
  const token = await tokenOf(ada)
  t.equal(await send(ada, token), 404)

  const rotated = await on(`${fresh},${old}`, ada)
  t.equal(await send(rotated, token), 404, 'a form that was open')
  const renewed = await tokenOf(rotated)
  t.not(renewed, token)
  t.equal(await send(rotated, renewed), 404)
  t.equal(await send(rotated, token.slice(1)), 403)

  const changed = await on(fresh, ada)
  t.match(await changed.get('/profile'), { statusCode: 303, headers: { location: '/sign-in?next=%2Fprofile' } })
  t.equal((await changed.get('/')).statusCode, 200)
  t.match(await changed.form('/devices/sign-out', { handle: 'nobody', _csrf: token }), { statusCode: 303, headers: { location: '/sign-in?next=%2Fdevices' } })
  t.equal((await changed.form('/sign-in', { username: 'ada', password: PASSWORD })).statusCode, 303)
  t.match(await changed.status(), { authenticated: true })
})
