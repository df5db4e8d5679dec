import t from 'tap'
import { waitFor } from '../../../test/helpers/index.ts'
import { adminSite, Client, MODES, PASSWORD, siteIn } from './helper.ts'

t.setTimeout(180_000)

for (const mode of MODES) {
  t.test(`${mode}: sign up, out and in, by name and by address; what is wrong is said beside the form`, async (t) => {
    const app = await siteIn(t, mode)
    const ada = new Client(app)
    t.match(await ada.signUp('Ada'), { statusCode: 303, headers: { location: '/' } })
    t.same(await ada.status(), { authenticated: true, username: 'ada', role: 'user' })
    t.match((await ada.get('/')).body, 'data-testid="me">ada<')
    t.match((await ada.get('/profile')).body, 'ada@example.org')
    t.equal((await ada.form('/sign-out')).statusCode, 303)
    t.same(await ada.status(), { authenticated: false })
    t.match(await ada.get('/profile'), { statusCode: 303, headers: { location: '/sign-in?next=%2Fprofile' } })

    const wrong = await ada.form('/sign-in', { username: 'ada', password: 'wrong' })
    t.equal(wrong.statusCode, 401)
    t.match(wrong.body, /role="alert">User name or password is wrong\.</)
    t.match(wrong.body, 'value="ada"', 'what was typed is still there')
    t.match((await ada.form('/sign-in', { username: 'nobody', password: 'wrong' })).body, 'User name or password is wrong.', 'it does not tell who exists')
    t.match(await ada.form('/sign-in', { username: ' ADA@example.org ', password: PASSWORD, next: '/devices' }), { statusCode: 303, headers: { location: '/devices' } })
    t.match(await ada.status(), { username: 'ada' })

    const other = new Client(app)
    t.match(await other.signUp('ada'), { statusCode: 409, body: /This user name is taken\./ })
    t.match(await other.form('/sign-up', { username: 'bob', email: 'ada@example.org', password: PASSWORD }), { statusCode: 409, body: /This e-mail address is taken\./ })
    t.match(await other.form('/sign-up', { username: 'bob', email: 'bob@example.org', password: 'short' }), { statusCode: 400, body: /A password has 10 to 200 characters\./ })
    t.match(await other.json('POST', '/api/1/auth/login', { username: 'ada', password: 'wrong' }), { statusCode: 401, body: /FST_ERR_SITE_CREDENTIALS/ })
    t.match((await other.json('POST', '/api/1/auth/login', { email: 'ada@example.org', password: PASSWORD })).json(), { success: true, data: { username: 'ada', role: 'user' } })
    t.match((await other.json('POST', '/api/1/auth/logout', {})).json(), { success: true, data: { ended: 1 } })
    t.same(await other.status(), { authenticated: false })
  })

  t.test(`${mode}: what the documents tell an operator to do can be done: another password, the end of a stolen account's sessions, spam removed`, async (t) => {
    const { app, admin } = await adminSite(t, mode)
    const [ada, phone] = [new Client(app), new Client(app)]
    await ada.signUp('ada')
    const login = (client: Client, username: string, password: string) => client.json('POST', '/api/1/auth/login', { username, password })
    await login(phone, 'ada', PASSWORD)
    t.match(await ada.form('/profile/password', { present: 'wrong', wanted: 'another good one' }), { statusCode: 401, body: /role="alert"/ })
    t.match(await ada.form('/profile/password', { present: PASSWORD, wanted: 'short' }), { statusCode: 400, body: /10 to 200/ })
    t.match(await ada.form('/profile/password', { present: PASSWORD, wanted: 'another good one' }), { statusCode: 303, headers: { location: '/profile?changed' } })
    t.match((await ada.get('/profile?changed')).body, 'The password is changed')
    t.same(await phone.status(), { authenticated: false }, 'other devices are signed out')
    t.equal((await login(phone, 'ada', PASSWORD)).statusCode, 401)
    t.equal((await login(phone, 'ada', 'another good one')).statusCode, 200)
    t.equal((await admin.form('/profile/password', { present: PASSWORD, wanted: 'the administrator has a new one' })).statusCode, 303)

    t.match((await admin.get('/admin/users')).body, 'Sign out everywhere: ada')
    const listed = async (username: string) => (await admin.get(`/admin/users/${username}/sessions`)).body
    t.match((await admin.get('/admin/users')).body, 'href="/admin/users/ada/sessions"')
    const handles = [...(await listed('ada')).matchAll(/name="handle" value="([^"]+)"/g)].map(([, handle]) => handle!)
    t.equal(handles.length, 2)
    t.match(await admin.form('/admin/users/ada/sessions', { handle: handles[0]! }), { statusCode: 303, headers: { location: '/admin/users/ada/sessions' } })
    t.same((await Promise.all([ada.status(), phone.status()])).map(({ authenticated }) => authenticated).sort(), [false, true], 'one is out, the other is not')
    t.equal((await listed('ada')).match(/name="handle"/g)?.length, 1)
    t.match(await admin.form('/admin/users/ada/sessions', { handle: handles[0]! }), { statusCode: 404 }, 'it is gone')
    t.match(await admin.form('/admin/users/admin/sessions', { handle: handles[1]! }), { statusCode: 404 }, 'of somebody else')
    t.equal((await admin.get('/admin/users/nobody/sessions')).statusCode, 404)
    t.equal((await ada.get('/admin/users/ada/sessions')).statusCode === 200, false)
    const act = (username: string, action: string) => admin.form('/admin/users', { username, action })
    t.equal((await act('ada', 'sign-out')).statusCode, 303)
    for (const client of [ada, phone]) t.same(await client.status(), { authenticated: false })
    t.match(await listed('ada'), 'Signed in nowhere')

    t.equal((await login(phone, 'ada', 'another good one')).statusCode, 200)
    const [, fresh = ''] = /ada has the password ([\w-]{16})</.exec((await act('ada', 'reset')).body) ?? []
    t.same(await phone.status(), { authenticated: false })
    t.equal((await login(phone, 'ada', fresh)).statusCode, 200)
    await phone.form('/profile/password', { present: fresh, wanted: 'another good one' })
    t.match(await act('ada', 'lock'), { statusCode: 303, headers: { location: '/admin/users?done=ada%20is%20locked' } })
    t.same(await phone.status(), { authenticated: false })
    t.match((await login(phone, 'ada', 'another good one')).json(), { statusCode: 403, code: 'FST_ERR_SITE_LOCKED' })
    t.equal((await login(phone, 'ada', 'wrong')).statusCode, 401, 'who does not know the password is not told')
    t.match((await admin.get('/admin/users')).body, 'user, locked')
    await act('ada', 'unlock')
    t.equal((await login(phone, 'ada', 'another good one')).statusCode, 200)
    for (const name of ['bob', 'bo.b', 'carl']) await new Client(app).signUp(name)
    const found = async (search: string) => [...(await admin.get(`/admin/users?search=${search}`)).body.matchAll(/Delete: ([\w.]+)/g)].map(([, name]) => name).sort()
    t.same([await found('bo'), await found('BO.'), await found('carl@example'), await found('b.')], [['bo.b', 'bob'], ['bo.b'], ['carl'], []])
    t.equal((await act('bob', 'delete')).statusCode, 303)
    t.same(await found('bob'), [])
    for (const action of ['sign-out', 'reset', 'lock', 'unlock', 'delete']) t.match(await act('bob', action), { statusCode: 404, body: /no account bob/ }, `${action}: it is gone`)
    for (const search of ['é', '日本', '(', '-', '/', '\\', '$']) t.same(await found(encodeURIComponent(search)), [], search)
    t.equal((await admin.get('/admin/users?search=a%00b')).statusCode, 400)
    t.match(await act('admin', 'delete'), { statusCode: 400, body: /another administrator/ })
    t.equal((await phone.form('/admin/users', { username: 'ada', action: 'lock' })).statusCode, 403)

    await phone.form('/guestbook', { name: 'Spam', message: 'Buy this' })
    const [, id] = /guestbook\/remove">[^]*?name="id" value="([^"]+)"/.exec((await admin.get('/guestbook')).body) ?? []
    t.notMatch((await phone.get('/guestbook')).body, 'guestbook/remove')
    t.equal((await phone.form('/admin/guestbook/remove', { id: id! })).statusCode, 403)
    t.equal((await admin.form('/admin/guestbook/remove', { id: id! })).statusCode, 303)
    t.notMatch((await phone.get('/guestbook')).body, 'Buy this')
  })

  t.test(`${mode}: whoever checks the old password while it changes does not stay in, nor undoes the change`, async (t) => {
    const { app } = await adminSite(t, mode)
    const { accounts, documents: { users } } = app
    const find = users.find.bind(users)
    /** What happens between the look at the account and the check of the password. */
    const meanwhile = (act: () => Promise<unknown>) => {
      users.find = async (name) => {
        const found = await find(name)
        users.find = find
        await act()
        return found
      }
    }
    const [ada, thief] = [new Client(app), new Client(app)]
    await ada.signUp('ada')
    const login = () => thief.json('POST', '/api/1/auth/login', { username: 'ada', password: PASSWORD })
    meanwhile(() => ada.form('/profile/password', { present: PASSWORD, wanted: 'another good one' }))
    t.equal((await login()).statusCode, 401, 'another password')
    t.same(await thief.status(), { authenticated: false })
    t.match(await ada.status(), { authenticated: true })

    let fresh = ''
    meanwhile(async () => { fresh = await accounts.resetPassword('ada', 'admin') })
    await ada.form('/profile/password', { present: 'another good one', wanted: 'the one of a thief' })
    t.equal((await ada.json('POST', '/api/1/auth/login', { username: 'ada', password: fresh })).statusCode, 200, 'a reset stands')

    await ada.form('/profile/password', { present: fresh, wanted: PASSWORD })
    meanwhile(async () => {
      await accounts.delete('ada', 'admin')
      await new Client(app).signUp('ada')
    })
    t.equal((await login()).statusCode, 401, 'another account of this name')
    t.same(await thief.status(), { authenticated: false })

    const add = users.add.bind(users)
    users.add = async (user) => {
      await add(user)
      await accounts.delete(user.username, 'admin')
    }
    t.equal((await thief.signUp('bob')).statusCode, 401)
    t.same(await thief.status(), { authenticated: false }, 'who is deleted while signing up')
    users.add = add
  })

  t.test(`${mode}: devices are listed and signed out one by one, and everywhere ends the session that pressed it too`, async (t) => {
    const app = await siteIn(t, mode)
    const [desk, phone, tablet] = [new Client(app), new Client(app), new Client(app)]
    await desk.signUp('ada')
    for (const device of [phone, tablet]) await device.json('POST', '/api/1/auth/login', { username: 'ada', password: PASSWORD }, { 'user-agent': 'Phone <i>' })
    const { body } = await desk.get('/devices')
    t.equal(body.match(/<li class="card">/g)?.length, 3)
    t.match(body, 'Phone &lt;i&gt;')
    t.match(body, /this one/)
    t.notMatch(body, desk.cookies.get('sessionId')!.split('.')[0]!, 'no session id is on the page')
    const handles = [...body.matchAll(/name="handle" value="([^"]+)"/g)].map(([, handle]) => handle!)
    const own = (await app.sessions.list('ada')).map(({ handle }) => handle)
    t.same([...handles].sort(), [...own].sort())

    await desk.form('/devices/sign-out', { handle: await handleOf(phone) })
    t.same(await phone.status(), { authenticated: false })
    t.match(await tablet.status(), { authenticated: true })
    t.match(await desk.form('/devices/sign-out', { handle: 'unknown' }), { statusCode: 404 })
    t.match(await desk.form('/devices/sign-out-everywhere'), { statusCode: 303, headers: { location: '/' } })
    for (const device of [desk, tablet]) t.same(await device.status(), { authenticated: false })

    async function handleOf (client: Client): Promise<string> {
      const [, handle] = /this one[^]*?name="handle" value="([^"]+)"/.exec((await client.get('/devices')).body) ?? []
      return handle!
    }
  })

  t.test(`${mode}: an administrator edits flags, templates and documents, and the next page shows it`, async (t) => {
    const { app, admin } = await adminSite(t, mode)
    const page = await admin.get('/admin/')
    t.match(page.body, 'Turn on banner')
    t.notMatch((await admin.get('/')).body, 'data-testid="banner"')
    t.match(await admin.form('/admin/features', { name: 'banner', enabled: 'true' }), { statusCode: 303, headers: { location: '/admin/?saved=flag%20banner' } })
    t.match((await admin.get('/admin/?saved=flag%20banner')).body, /Saved: flag banner/)
    t.match((await new Client(app).get('/')).body, /data-testid="banner"[^]*Planned maintenance/)
    t.match((await new Client(app).get('/api/1/features/banner')).json(), { success: true, data: { name: 'banner', enabled: true } })
    await admin.form('/admin/templates', { name: 'welcome', body: '<p class="lead">Edited by {{nobody}}hand</p>', action: 'save' })
    t.match((await admin.get('/')).body, '<p class="lead">Edited by hand</p>')
    t.match((await admin.json('PUT', '/api/1/admin/templates/welcome', { body: 'Edited again' })).json(), { success: true })
    t.match((await admin.get('/')).body, 'Edited again')
    await admin.form('/admin/templates', { name: 'welcome', action: 'reset' })
    t.match((await admin.get('/')).body, 'Every worker of every server')
    t.equal((await admin.json('POST', '/api/1/admin/templates/refresh')).statusCode, 200)
    t.match(await admin.form('/admin/templates', { name: '../app', body: 'x', action: 'save' }), { statusCode: 400 })
    t.match(await admin.form('/admin/config', { collection: 'config', key: 'site', value: '{"footer":"<b>Imprint</b>"}' }), { statusCode: 303 })
    t.match((await admin.get('/')).body, '&lt;b&gt;Imprint&lt;/b&gt;')
    t.match(await admin.form('/admin/config', { collection: 'config', key: 'site', value: '{' }), { statusCode: 400, body: /no JSON/ })
    await admin.form('/admin/config', { collection: 'doctypes', key: 'person', value: '{"columns":[{"field":"email","label":"Address"}]}' })
    t.match((await admin.get('/users')).body, /<th scope="col" class="email">Address<\/th>/)
    await admin.form('/admin/features', { name: 'sign-up-closed', enabled: 'true' })
    t.match(await new Client(app).signUp('late'), { statusCode: 403, body: /Nobody new can sign up/ })
    t.match((await admin.get('/admin/users')).body, 'admin@example.org')
    t.match((await admin.get('/admin/websockets')).body, 'data-namespace="hello-todo"')
    t.match(await admin.get('/admin/cluster'), { statusCode: 200, headers: { 'content-type': /text\/html/ } })
    t.match((await admin.get('/api/1/ws/stats')).json(), { success: true, data: { 'hello-todo': { connections: 0 } } })
    t.match((await admin.get('/api/1/metrics')).json().data, { statistics: { totalInstances: 1 } })
  })

  t.test(`${mode}: a flag is for whom an administrator says`, async (t) => {
    const { app, admin } = await adminSite(t, mode)
    const visitor = new Client(app)
    const shows = async (client: Client) => (await client.get('/')).body.includes('data-testid="banner"')
    const rules = (percentage: string, targeting: string, version?: string) => admin.form('/admin/features/rules', { name: 'banner', percentage, targeting, ...(version !== undefined && { version }) })
    await admin.form('/admin/features', { name: 'banner', enabled: 'true' })
    t.same([await shows(admin), await shows(visitor)], [true, true])
    t.match(await rules('', '[{"if":[{"attribute":"role","value":"admin"}],"variant":"on"}]'), { statusCode: 303, headers: { location: '/admin/?saved=flag%20banner' } })
    t.same([await shows(admin), await shows(visitor)], [true, false])
    t.match((await admin.get('/admin/')).body, /&quot;attribute&quot;: &quot;role&quot;/)
    t.equal((await rules('100', '')).statusCode, 303)
    t.same([await shows(admin), await shows(visitor)], [true, true])
    const [, version] = /action="\/admin\/features\/rules"[^]*?name="version" value="([^"]+)"/.exec((await admin.get('/admin/')).body) ?? []
    t.equal((await rules('0', '', version)).statusCode, 303)
    t.same([await shows(admin), await shows(visitor)], [false, false])
    t.match(await rules('50', '', version), { statusCode: 409, body: /somebody else[^]*theirs[^]*weight/i })
    t.match(await rules('', '{'), { statusCode: 400, body: /no JSON/ })
    t.match(await rules('', '[{"if":[],"variant":"on"}]'), { statusCode: 400, body: /targeting\.0\.if/ })
    t.equal((await rules('101', '')).statusCode, 400)
    await admin.form('/admin/features', { name: 'banner', enabled: 'false' })
    t.match(await app.configCache.getFeature('banner'), { enabled: false, split: [{ variant: 'on', weight: 0 }, { variant: 'off', weight: 100 }] }, 'turning it off keeps for whom it is')
  })

  t.test(`${mode}: of two administrators who edit the same thing the second is told, and sees both`, async (t) => {
    const { app, admin } = await adminSite(t, mode)
    const fields = async (action: string, name: string): Promise<Record<string, string>> => {
      const [form = ''] = (await admin.get('/admin/')).body.split('<form').filter((part) => part.includes(`action="${action}"`) && part.includes(`value="${name}"`))
      return Object.fromEntries([...form.matchAll(/name="(\w+)" value="([^"]*)"/g)].map(([, key, value]) => [key, value])) as Record<string, string>
    }
    const seen = { flag: await fields('/admin/features', 'banner'), template: await fields('/admin/templates', 'welcome'), document: await fields('/admin/config', 'site') }
    t.equal((await admin.form('/admin/features', seen.flag)).statusCode, 303)
    t.equal((await admin.form('/admin/templates', { ...seen.template, action: 'save', body: 'first' })).statusCode, 303)
    t.equal((await admin.form('/admin/config', { ...seen.document, value: '{"footer":"first"}' })).statusCode, 303)

    t.match(await admin.form('/admin/features', { ...seen.flag, enabled: 'false' }), { statusCode: 409, body: /somebody else[^]*<pre class="theirs">on<\/pre>/i })
    const template = await admin.form('/admin/templates', { ...seen.template, action: 'save', body: 'second' })
    t.match(template, { statusCode: 409, body: /<pre class="theirs">first<\/pre>[^]*>\s*second<\/textarea>/ })
    const document = await admin.form('/admin/config', { ...seen.document, value: '{"footer":"second"}' })
    t.match(document, { statusCode: 409, body: /first[^]*second/ })
    t.equal(await app.configCache.isFeatureEnabled('banner'), true)
    t.same(await app.configCache.get('site', { collection: 'config' }), { footer: 'first' })
    const [, version] = /name="version" value="([^"]+)"/.exec(document.body) ?? []
    t.equal((await admin.form('/admin/config', { ...seen.document, version: version!, value: '{"footer":"second"}' })).statusCode, 303, 'who has seen both may save')

    t.match(await admin.form('/admin/config', { ...await fields('/admin/config', 'site'), value: '{"footer": "half' }), { statusCode: 400, body: /no JSON[^]*half/ }, 'what was typed is not lost')
    const { data } = (await admin.get('/api/1/admin/templates/welcome')).json()
    t.match((await admin.json('PUT', '/api/1/admin/templates/welcome', { body: 'third', version: data.version })).json(), { success: true })
    t.match((await admin.json('PUT', '/api/1/admin/templates/welcome', { body: 'fourth', version: data.version })).json(), { success: false, code: 'FST_ERR_SITE_EDITED', statusCode: 409, current: 'third', version: /./ })
    const before = (await admin.get('/api/1/admin/templates/banner')).json().data.version
    const saved = await Promise.all(['a', 'b', 'c'].map((body) => admin.json('PUT', '/api/1/admin/templates/banner', { body, version: before })))
    t.equal(saved.filter(({ statusCode }) => statusCode === 200).length, 1, 'of three at once one is saved')
  })

  t.test(`${mode}: messages reach the processes and the pages`, async (t) => {
    const { app, admin } = await adminSite(t, mode)
    const user = new Client(app)
    await user.signUp('ada')
    t.match((await user.json('POST', '/api/1/notices', { text: 'hello <b>' })).json(), { success: true, data: { instances: ['025:0'], missing: [] } })
    t.match((await user.get('/hello-app-cluster/')).body, /<strong>ada<\/strong>[^]*hello &lt;b&gt;/)
    const delivered = mode === 'servers' ? 'cluster' : 'local'
    for (const url of ['/api/1/broadcast', '/api/1/message/ada']) t.match((await admin.json('POST', url, { text: 'hi' })).json(), { success: true, data: { delivered } })
    t.match(await user.json('POST', '/api/1/notices', { text: '  ' }), { statusCode: 400 })
    t.match(await new Client(app).json('POST', '/api/1/notices', { text: 'hi' }), { statusCode: 401 })
  })

  t.test(`${mode}: the charts are computed once and the route says so; a new person makes them anew`, async (t) => {
    const { app, admin } = await adminSite(t, mode, { SEED_PEOPLE: '300' })
    const ask = async () => {
      const { headers, body } = await admin.get('/api/1/analytics/performance')
      return { from: headers['x-cache'], ...JSON.parse(body).data }
    }
    // With Redis, caching begins when the process has its lease.
    await waitFor(async () => (await ask()).from === 'HIT', { what: 'a report from the cache', timeoutMs: 60_000 })
    const report = await ask()
    t.equal(report.people, 300)
    t.ok(report.months.reduce((sum: number, { spent }: { spent: number }) => sum + spent, 0) > 1000)
    t.equal(report.cities.reduce((sum: number, { people }: { people: number }) => sum + people, 0), 300)
    t.match((await admin.get('/analytics/')).body, 'data-testid="people">300<')
    const reads = t.capture(app.documents.directory, 'each', app.documents.directory.each)
    t.equal((await admin.get('/api/1/analytics/performance?x=1')).headers['x-cache'], 'HIT', 'no query makes it another report')
    for (const method of ['HEAD', 'GET'] as const) await admin.send({ method, url: '/api/1/analytics/performance?y=2' })
    t.same(reads(), [], 'and nobody can ask for one in vain')
    await app.configCache.write({ tags: ['people'] }, () => app.documents.directory.seed(310))
    t.equal((await ask()).people, 310)
    t.match((await admin.get('/analytics/')).body, 'data-testid="people">310<')
  })
}

t.test('a walk over ten thousand people shows each once, forwards and back, and every page leads on', async (t) => {
  const { admin } = await adminSite(t, 'embedded', { SEED_PEOPLE: '10000' })
  const walk = async (url: string, rel: 'next' | 'prev') => {
    const ids: number[] = []
    let last = url
    for (let at: string | undefined = url; at !== undefined;) {
      const { body } = await admin.get(at)
      const page = [...body.matchAll(/<tr data-id="(\d+)"/g)].map(([, id]) => Number(id))
      ids.push(...(rel === 'next' ? page : page.reverse()))
      last = at
      const href = new RegExp(`rel="${rel}" href="([^"]+)"`).exec(body)?.[1]
      at = href === undefined ? undefined : `/users${href.replaceAll('&amp;', '&')}`
    }
    return { ids, last }
  }
  const forwards = await walk('/users?limit=200&sort=-joinedAt', 'next')
  t.equal(forwards.ids.length, 10_000)
  t.equal(new Set(forwards.ids).size, 10_000)
  const backwards = await walk(forwards.last, 'prev')
  t.same(backwards.ids.reverse(), forwards.ids)
  const api = await admin.get('/api/1/users?limit=3&sort=-spent')
  t.match(api.json(), { success: true, count: 3, pagination: { mode: 'cursor', hasMore: true, nextCursor: /^[\w-]+$/ } })
  t.match(api.headers.link, 'rel="next"')
  t.match(await admin.get('/users?cursor=nonsense'), { statusCode: 400, body: /<h1>Bad Request<\/h1>/ })
})

t.test('every route of the API is described at /docs and in its OpenAPI document', async (t) => {
  const { admin } = await adminSite(t, 'embedded')
  const { paths } = (await admin.get('/docs/json')).json()
  const wanted = [
    '/api/1/auth/login', '/api/1/auth/logout', '/api/1/auth/logout-all', '/api/1/auth/status', '/api/1/features/{name}', '/api/1/broadcast',
    '/api/1/message/{userId}', '/api/1/health', '/api/1/metrics', '/api/1/metrics/servers', '/api/1/ws/stats', '/api/1/ws/{namespace}/broadcast', '/api/1/config/{collection}/{key}',
    '/api/1/analytics/performance', '/api/1/users', '/api/1/admin/templates/refresh', '/health', '/health/live', '/health/redis', '/metrics'
  ]
  t.same(wanted.filter((path) => paths[path] === undefined), [])
  const operations = Object.values(paths as Record<string, Record<string, { operationId?: string, tags?: string[], security?: object[] }>>).flatMap((one) => Object.values(one))
  const names = operations.map(({ operationId }) => operationId)
  t.ok(names.every((name) => /^[a-z]+(?:[A-Z]\w*)+$/.test(name ?? '')), names.join())
  t.equal(new Set(names).size, names.length, 'each operation has a name of its own')
  t.ok(operations.every(({ tags, security }) => tags?.length === 1 && security !== undefined))
  for (const path of ['/api/1/broadcast', '/api/1/ws/stats']) t.same((Object.values(paths[path])[0] as { security: object[] }).security, [{ session: [] }], path)
  const page = (await admin.get('/docs')).body
  for (const path of wanted) t.match(page, `<code>${path}</code>`)
})
