import t from 'tap'
import { waitFor } from '../../../test/helpers/index.ts'
import { adminSite, Client, MODES } from './helper.ts'

for (const mode of MODES) {
  t.test(`${mode}: administrators read who signed in and out, from where, and what was done to an account`, async (t) => {
    const { app, admin } = await adminSite(t, mode)
    const ada = new Client(app)
    await ada.signUp('ada')
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
    t.ok((await rows('')).some((row) => row.startsWith('admin signed in')))
    t.same(await rows('?user=nobody'), [])
    t.equal((await new Client(app).get('/admin/audit')).statusCode, 303, 'nobody else reads it')
  })
}
