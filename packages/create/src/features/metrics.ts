import type { Feature } from '../feature.ts'

export const metrics: Feature = {
  name: 'metrics',
  about: 'health, metrics of the whole cluster and a dashboard',
  plugin: '@jpulse/cluster-metrics',
  local: 'clusterMetrics',
  options: '{ authorize: app.auth.isAdmin }',
  needs: ['broadcast'],
  routes: ['`/health`, `/health/live`; for the administrator `/metrics` and the dashboard, `/admin/cluster`'],
  test: () => `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asAdmin, build } from './helper.js'

test('health is for anybody, the dashboard for administrators', async (t) => {
  const app = await build(t)
  const status = async (url = '/health', headers = {}) => (await app.inject({ url, headers })).statusCode
  assert.equal(await status('/health'), 200)
  assert.equal(await status('/admin/cluster'), 401)
  assert.equal(await status('/admin/cluster', await asAdmin(app)), 200)
})
`
}
