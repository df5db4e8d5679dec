import t from 'tap'
import { serversEnv } from '../../../test/helpers/index.ts'
import { warmUp } from '../src/prepare.ts'
import { site } from './helper.ts'

t.test('a worker that has just started has read settings, flags and templates before somebody asks', async (t) => {
  const env = await serversEnv(t)
  const before = await site(t, env)
  await before.ready()
  await before.configCache.set('site', { footer: 'hello' }, { collection: 'config' })
  await before.configCache.setFeature('banner', { enabled: true })
  await before.configCache.set('welcome', { body: 'Good evening' }, { collection: 'templates' })

  const app = await site(t, env)
  await app.ready()
  t.equal(await warmUp(app), 3)
  const { loads, l1Hits } = app.configCache.stats()
  t.same(await app.configCache.get('site', { collection: 'config' }), { footer: 'hello' })
  t.equal(await app.configCache.isFeatureEnabled('banner'), true)
  t.same(await app.configCache.get('welcome', { collection: 'templates' }), { body: 'Good evening' })
  t.match(app.configCache.stats(), { loads, l1Hits: l1Hits + 3 })
})
