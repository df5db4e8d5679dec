import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Failure, Success } from '@jpulse/plugin-kit'
import { Type } from 'typebox'
import { isAdmin } from '../auth/viewer.ts'

const Name = Type.Object({ name: Type.String({ maxLength: 32 }) })
const Template = Success(Type.Object({ name: Type.String(), body: Type.String() }))
const failures = { '4xx': Failure, 503: Failure }

/** Templates for administrators. When a change has been answered, no worker serves what was before. */
const templates: FastifyPluginAsyncTypebox = async (app) => {
  app.addHook('onRequest', async (request) => { isAdmin(request) })

  app.get('/admin/templates/:name', { schema: { params: Name, response: { 200: Template, ...failures } } }, async ({ params: { name } }) => {
    return { success: true as const, data: { name, body: await app.templates.source(name) } }
  })

  app.put('/admin/templates/:name', {
    schema: { params: Name, body: Type.Object({ body: Type.String() }), response: { 200: Template, ...failures } }
  }, async ({ params: { name }, body: { body } }) => {
    await app.templates.save(name, body)
    return { success: true as const, data: { name, body } }
  })

  app.post('/admin/templates/refresh', {
    schema: { description: 'Every worker reads the template files anew.', response: { 200: Success(Type.Object({ refreshed: Type.Literal(true) })), ...failures } }
  }, async () => {
    await app.templates.refresh()
    return { success: true as const, data: { refreshed: true as const } }
  })
}

export default templates
