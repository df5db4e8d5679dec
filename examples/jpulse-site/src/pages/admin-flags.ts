import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Feature, versionOf } from '@jpulse/config-cache'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { FEATURES } from '../admin/editable.ts'
import { saveSeen } from '../admin/edits.ts'
import { EditedError, InputError } from '../errors.ts'
import { type Again, againPage, type FlagView } from './admin-views.ts'
import { pageResponses, sendPage } from './page.ts'

const Version = Type.Optional(Type.String({ maxLength: 100 }))
const Name = Type.String({ maxLength: 64 })
const Switch = Type.Object({ version: Version, name: Name, enabled: Type.Enum(['true', 'false']) })
const Rules = Type.Object({ version: Version, name: Name, percentage: Type.String({ pattern: '^(100|\\d{1,2})?$' }), targeting: Type.String({ maxLength: 20_000 }) })

export async function flagViews (app: FastifyInstance): Promise<FlagView[]> {
  return Promise.all(FEATURES.map(async ({ name, about }) => {
    const stored = await app.configCache.getFeature(name)
    return { name, about, enabled: stored?.enabled === true, ...rulesOf(stored), version: versionOf(stored) }
  }))
}

/** Turns flags on and off, and says for whom they are on. What somebody else has saved meanwhile is not overwritten. */
const adminFlags: FastifyPluginAsyncTypebox = async (app) => {
  const save = async (name: string, version: string | undefined, change: (stored: Readonly<Feature> | null) => Feature): Promise<void> => {
    if (!FEATURES.some((feature) => feature.name === name)) throw new InputError('There is no such flag.')
    const stored = await app.configCache.getFeature(name)
    await saveSeen({
      what: `flag ${name}`,
      version,
      save: (ifVersion) => app.configCache.setFeature(name, change(stored), ifVersion),
      read: () => app.configCache.getFeature(name)
    })
  }
  const sendAgain = (request: FastifyRequest, reply: FastifyReply, again: Again) =>
    sendPage(app, request, reply, { title: 'Admin · jPulse', path: '/admin/', content: againPage(again) })
  const saved = (reply: FastifyReply, name: string) => reply.redirect(`/admin/?saved=${encodeURIComponent(`flag ${name}`)}`, 303)

  const switched = ({ body: { name, enabled } }: FastifyRequest<{ Body: Static<typeof Switch> }>) => ({ what: `turned the flag ${name} ${enabled === 'true' ? 'on' : 'off'}` })
  app.post('/features', { config: { act: switched }, schema: { body: Switch, response: pageResponses } }, async (request, reply) => {
    const { name, enabled, version } = request.body
    try {
      await save(name, version, (stored) => ({ ...stored, enabled: enabled === 'true' }))
    } catch (err) {
      if (!(err instanceof EditedError)) throw err
      const { version, current } = err as unknown as { version: string, current: Feature | null }
      const say = (on: boolean): string => on ? 'on' : 'off'
      return sendAgain(request, reply.code(409), { what: `flag ${name}`, action: '/admin/features', hidden: { name, enabled, version }, problem: err.message, yours: say(enabled === 'true'), theirs: say(current?.enabled === true) })
    }
    return saved(reply, name)
  })

  const ruled = ({ body: { name } }: FastifyRequest<{ Body: Static<typeof Rules> }>) => ({ what: `said for whom the flag ${name} is on` })
  app.post('/features/rules', { config: { act: ruled }, schema: { body: Rules, response: pageResponses } }, async (request, reply) => {
    const { name, percentage, targeting, version } = request.body
    const again = { what: `flag ${name}`, action: '/admin/features/rules', field: 'targeting', yours: targeting }
    try {
      const rules = parsed(targeting)
      await save(name, version, (stored) => withRules(stored, percentage, rules))
    } catch (err) {
      const { code, message } = err as { code?: string, message: string }
      if (err instanceof EditedError) {
        const { version, current } = err as unknown as { version: string, current: Feature | null }
        return sendAgain(request, reply.code(409), { ...again, hidden: { name, percentage, version }, problem: message, theirs: JSON.stringify(current, null, 2) })
      }
      if (!(err instanceof InputError) && code !== 'FST_ERR_CONFIG_CACHE_INVALID_FEATURE') throw err
      return sendAgain(request, reply.code(400), { ...again, hidden: { name, percentage, ...(version !== undefined && { version }) }, problem: message })
    }
    return saved(reply, name)
  })
}

export default adminFlags

function rulesOf (feature: Readonly<Feature> | null): { percentage: string, targeting: string } {
  const share = feature?.split?.find(({ variant }) => variant === 'on')
  return { percentage: share === undefined ? '' : String(share.weight), targeting: feature?.targeting === undefined ? '' : JSON.stringify(feature.targeting, null, 2) }
}

/** The shares are those of `on` and `off`, so that their weights are percentages. */
function withRules (stored: Readonly<Feature> | null, percentage: string, targeting: Feature['targeting']): Feature {
  const { split: _split, targeting: _targeting, ...kept } = stored ?? { enabled: false }
  const on = Number(percentage)
  return {
    ...kept,
    enabled: stored?.enabled === true,
    ...(targeting !== undefined && { targeting }),
    ...(percentage !== '' && { split: [{ variant: 'on', weight: on }, { variant: 'off', weight: 100 - on }] })
  }
}

function parsed (json: string): Feature['targeting'] {
  if (json.trim() === '') return undefined
  try {
    return JSON.parse(json) as Feature['targeting']
  } catch {
    throw new InputError('The rules are no JSON. Nothing was changed.')
  }
}
