import t from 'tap'
import { waitFor } from '../../../test/helpers/index.ts'
import { adminSite, Client, MODES, PASSWORD } from './helper.ts'

for (const mode of MODES) {
  t.test(`${mode}: administrators read who signed in and out, from where, and what was done to an account`, async (t) => {
    const { app, admin } = await adminSite(t, mode)
    const ada = new Client(app)
    await ada.signUp('ada')
    await ada.form('/profile/password', { present: 'wrong', wanted: 'another good one' })
    await ada.form('/profile/password', { present: PASSWORD, wanted: 'another good one' })
    await ada.form('/devices/sign-out-everywhere')
    await admin.form('/admin/users', { username: 'ada', action: 'lock' })

    const rows = async (query: string) => {
      const { body } = await admin.get(`/admin/audit${query}`)
      return [...body.matchAll(/<\/time><\/td><td>([^<]*)<\/td><td>([^<]*)<\/td><td>([^<]*)<\/td>/g)].map(([, user, what, ip]) => `${user} ${what} ${ip}`.trim())
    }
    // Of the sessions it is told when they have ended, and then written.
    await waitFor(async () => (await rows('?user=Ada')).filter((row) => row.includes('signed out everywhere')).length >= 1)
    const all = await rows('?user=Ada')
    t.ok(all.includes('ada signed in 127.0.0.1'), all.join())
    t.ok(all.includes('ada locked, by admin 127.0.0.1'))
    t.equal(all.filter((row) => row === 'ada changed the password 127.0.0.1').length, 1)
    t.ok((await rows('')).some((row) => row.startsWith('admin signed in')))
    t.same(await rows('?user=nobody'), [])
    t.equal((await new Client(app).get('/admin/audit')).statusCode, 303, 'nobody else reads it')
  })
}

for (const mode of MODES) {
  t.test(`${mode}: whatever an administrator changes, on a page or by the API, is written down before, and once more where it is refused`, async (t) => {
    const { app, admin } = await adminSite(t, mode)
    const ada = new Client(app)
    await ada.signUp('ada')
    const { id } = (await ada.json('POST', '/api/1/guestbook', { name: 'Ada', message: 'Hello' })).json().data
    const seen = new Set<string>()
    const written = async () => {
      const entries = (await admin.get('/admin/audit?user=admin')).body
      const fresh = [...entries.matchAll(/<\/time><\/td><td>([^<]*)<\/td><td>([^<]*)<\/td>/g)].map(([, user, what]) => `${user}: ${what}`).filter((row) => !row.endsWith('signed in'))
      const all = fresh.filter((row) => !seen.has(row))
      for (const row of all) seen.add(row)
      return all.sort()
    }
    const form = (url: string, fields: Record<string, string>) => async () => (await admin.form(url, fields)).statusCode
    const json = (method: 'POST' | 'PUT' | 'DELETE', url: string, body?: object) => async () => (await admin.json(method, url, body)).statusCode
    /** In the middle of the change something fails that nobody thought of. */
    const failing = (act: () => Promise<number>) => async () => {
      const { users } = app.documents
      const { setLocked } = users
      users.setLocked = () => Promise.reject(new Error('not thought of'))
      try { return await act() } finally { users.setLocked = setLocked }
    }
    const shop = { name: 'shop', audience: 'users', sending: 'on' }
    const cases: ReadonlyArray<[act: () => Promise<number>, status: number, ...rows: string[]]> = [
      [form('/admin/features', { name: 'banner', enabled: 'true' }), 303, 'admin: turned the flag banner on'],
      [form('/admin/features', { name: 'nonsense', enabled: 'true' }), 400, 'admin: turned the flag nonsense on', 'admin: turned the flag nonsense on: refused (400)'],
      [form('/admin/features/rules', { name: 'banner', percentage: '50', targeting: '' }), 303, 'admin: said for whom the flag banner is on'],
      [form('/admin/config', { collection: 'config', key: 'site', value: '{"footer":""}' }), 303, 'admin: edited the document config/site'],
      [form('/admin/config', { collection: 'config', key: 'site', value: '{}', version: 'old' }), 409, 'admin: edited the document config/site: refused (409)'],
      [form('/admin/templates', { name: 'welcome', body: 'hello' }), 303, 'admin: edited the template welcome'],
      [form('/admin/templates', { name: 'welcome', action: 'reset' }), 303, 'admin: took the template welcome back to its file'],
      [form('/admin/guestbook/remove', { id }), 303, `admin: removed the entry ${id} of the guest book`],
      [form('/admin/websockets', shop), 303, 'admin: opened the WebSocket endpoint shop, for whoever is signed in, all may send'],
      [form('/admin/websockets/remove', { name: 'shop' }), 303, 'admin: removed the WebSocket endpoint shop'],
      [form('/admin/users', { username: 'ada', action: 'lock' }), 303, 'ada: locked, by admin'],
      [failing(form('/admin/users', { username: 'ada', action: 'unlock' })), 500, 'ada: unlocked, by admin', 'ada: unlocked: not confirmed (500), by admin'],
      [form('/admin/users', { username: 'nobody', action: 'lock' }), 404, 'nobody: locked, by admin', 'nobody: locked: refused (404), by admin'],
      [form('/admin/users', { username: 'admin', action: 'lock' }), 400, 'admin: locked, by admin', 'admin: locked: refused (400), by admin'],
      [json('PUT', '/api/1/config/config/site', { value: { footer: 'x' } }), 200, 'admin: PUT /api/1/config/config/site'],
      [json('DELETE', '/api/1/config/config/site'), 200, 'admin: DELETE /api/1/config/config/site'],
      [json('PUT', '/api/1/features/banner', { enabled: false }), 200, 'admin: PUT /api/1/features/banner'],
      [json('POST', '/api/1/cache/clear'), 200, 'admin: POST /api/1/cache/clear'],
      [json('PUT', '/api/1/admin/templates/welcome', { body: 'hello' }), 200, 'admin: PUT /api/1/admin/templates/welcome'],
      [json('POST', '/api/1/broadcast', { text: 'hello' }), 200, 'admin: POST /api/1/broadcast'],
      [json('POST', '/api/1/ws/hello-todo/broadcast', { type: 'x', data: 1 }), 200, 'admin: POST /api/1/ws/hello-todo/broadcast'],
      [json('POST', '/api/1/app-cluster/broadcast/news', { data: 1 }), 200, 'admin: POST /api/1/app-cluster/broadcast/news'],
      [json('PUT', '/api/1/features/banner', { enabled: 1 }), 400]
    ]
    await written()
    for (const [act, status, ...rows] of cases) {
      t.equal(await act(), status, rows.join())
      // What was refused is written once the answer is out.
      const found: string[] = []
      await waitFor(async () => found.push(...await written()) >= rows.length, { what: rows.join() })
      t.same(found.sort(), rows.sort())
    }
    t.equal((await ada.json('PUT', '/api/1/features/banner', { enabled: true })).statusCode, 401)
    t.equal((await ada.signUp('bea')).statusCode, 303)
    t.equal((await ada.json('PUT', '/api/1/features/banner', { enabled: true })).statusCode, 403)
    t.same((await written()), [], 'what others may not do is nobody\'s act')
  })
}
