import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Failure, Success } from '@jpulse/plugin-kit'
import { Type } from 'typebox'
import { edit, versionOf } from '../admin/edits.ts'
import { isAdmin } from '../auth/viewer.ts'

const Name = Type.Object({ name: Type.String({ maxLength: 32 }) })
const Version = Type.String({ maxLength: 100, description: 'Of the body; a save that names another one than the present is refused with 409' })
const Template = Success(Type.Object({ name: Type.String(), body: Type.String(), version: Version }))
const failures = { '4xx': Failure, 503: Failure }
const Edited = Type.Object({ ...Failure.properties, current: Type.String(), version: Version })

/** Templates for administrators. When a change has been answered, no worker serves what was before. */
const templates: FastifyPluginAsyncTypebox = async (app) => {
  app.addHook('onRequest', async (request) => { isAdmin(request) })

  app.get('/admin/templates/:name', { schema: { params: Name, response: { 200: Template, ...failures } } }, async ({ params: { name } }) => {
    const body = await app.templates.source(name)
    return { success: true as const, data: { name, body, version: versionOf(body) } }
  })

  app.put('/admin/templates/:name', {
    schema: { params: Name, body: Type.Object({ body: Type.String(), version: Type.Optional(Version) }), response: { 200: Template, 409: Edited, ...failures } }
  }, async ({ params: { name }, body: { body, version } }) => {
    await edit(app, { what: `template ${name}`, version, read: () => app.templates.source(name), save: () => app.templates.save(name, body) })
    return { success: true as const, data: { name, body, version: versionOf(body) } }
  })

  app.post('/admin/templates/refresh', {
    schema: { description: 'Every worker reads the template files anew.', response: { 200: Success(Type.Object({ refreshed: Type.Literal(true) })), ...failures } }
  }, async () => {
    await app.templates.refresh()
    return { success: true as const, data: { refreshed: true as const } }
  })
}

export default templates
