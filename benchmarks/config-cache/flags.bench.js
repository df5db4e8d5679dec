import { InMemoryProvider, OpenFeature } from '@openfeature/server-sdk'
import { ConfigCacheProvider } from '@jpulse/config-cache/openfeature'
import { compare, instance } from './setup.js'

// What asking for a flag costs: bare, with rules and shares, and through OpenFeature, where a provider over a plain object shows what its SDK takes.

const app = await instance(`bench${Date.now()}`)
const cache = app.configCache
const targeting = [{ if: [{ attribute: 'email', operator: /** @type {const} */ ('endsWith'), value: '@example.com' }], variant: 'on' }]
await cache.setFeature('plain', { enabled: true })
await cache.setFeature('rules', { enabled: true, targeting })
await cache.setFeature('split', { enabled: true, split: [{ variant: 'on', weight: 20 }, { variant: 'off', weight: 80 }] })
// The releases have to be heard before the first hit, and hits alone never let the process read its sockets.
await new Promise((resolve) => setTimeout(resolve, 100))

const flag = { variants: { on: true, off: false }, defaultVariant: /** @type {const} */ ('on'), disabled: false }
await OpenFeature.setProviderAndWait('ours', new ConfigCacheProvider(cache))
await OpenFeature.setProviderAndWait('memory', new InMemoryProvider({ plain: flag }))
const [ours, memory] = [OpenFeature.getClient('ours'), OpenFeature.getClient('memory')]
const context = { targetingKey: 'user-1', email: 'ann@example.com' }

await compare({
  isFeatureEnabled: () => cache.isFeatureEnabled('plain'),
  'isFeatureEnabled, rules': () => cache.isFeatureEnabled('rules', { context }),
  'isFeatureEnabled, split': () => cache.isFeatureEnabled('split', { context }),
  'OpenFeature, in memory': () => memory.getBooleanValue('plain', false, context),
  'OpenFeature, ours': () => ours.getBooleanValue('plain', false, context),
  'OpenFeature, ours, split': () => ours.getBooleanValue('split', false, context)
}, { operations: 20_000, turns: 6, base: 'isFeatureEnabled' })
await OpenFeature.close()
await app.close()
process.exit()
