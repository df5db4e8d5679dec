import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import { Type } from 'typebox'
import { DOCUMENTS, FEATURES } from '../admin/editable.ts'
import { isAdmin, viewer } from '../auth/viewer.ts'
import { InputError } from '../errors.ts'
import { adminPage, userList, webSocketStatus } from './admin-views.ts'
import { pageResponses, sendPage, toSignIn } from './page.ts'

const Feature = Type.Object({ name: Type.String({ maxLength: 64 }), enabled: Type.Enum(['true', 'false']) })
const Document = Type.Object({ collection: Type.String({ maxLength: 64 }), key: Type.String({ maxLength: 64 }), value: Type.String({ maxLength: 20_000 }) })
const Template = Type.Object({ name: Type.String({ maxLength: 32 }), body: Type.Optional(Type.String({ maxLength: 20_000 })), action: Type.Optional(Type.Enum(['save', 'reset'])) })
const Saved = Type.Object({ saved: Type.Optional(Type.String({ maxLength: 100 })) })
const USERS_SHOWN = 100

/** Flags, configuration, templates, sockets and users, for administrators. When a form has been answered, no worker serves what was before. */
const admin: FastifyPluginAsyncTypebox = async (app) => {
  app.addHook('onRequest', async (request, reply) => {
    if (request.method === 'GET' && viewer(app, request) === null) return toSignIn(reply, request.url)
    isAdmin(request)
  })

  app.get('/', { schema: { querystring: Saved, response: pageResponses } }, async (request, reply) => {
    const [flags, documents, names] = await Promise.all([
      Promise.all(FEATURES.map(async (feature) => ({ ...feature, enabled: await app.configCache.isFeatureEnabled(feature.name) }))),
      Promise.all(DOCUMENTS.map(async (document) => ({ ...document, value: await app.configCache.get(document.key, { collection: document.collection }) ?? document.initial }))),
      app.templates.names()
    ])
    const templates = await Promise.all(names.map(async (name) => ({ name, body: await app.templates.source(name) })))
    return sendPage(app, request, reply, { title: 'Admin · jPulse', path: '/admin/', content: adminPage({ saved: request.query.saved, flags, documents, templates }) })
  })

  app.post('/features', { schema: { body: Feature, response: pageResponses } }, async (request, reply) => {
    const { name, enabled } = request.body
    if (!FEATURES.some((feature) => feature.name === name)) throw new InputError('There is no such flag.')
    await app.configCache.setFeature(name, { enabled: enabled === 'true' })
    return saved(reply, `flag ${name}`)
  })

  app.post('/config', { schema: { body: Document, response: pageResponses } }, async (request, reply) => {
    const { collection, key, value } = request.body
    if (!DOCUMENTS.some((document) => document.collection === collection && document.key === key)) throw new InputError('There is no such document.')
    await app.configCache.set(key, parsed(value), { collection })
    return saved(reply, `document ${key}`)
  })

  app.post('/templates', { bodyLimit: 128 * 1024, schema: { body: Template, response: pageResponses } }, async (request, reply) => {
    const { name, body = '', action = 'save' } = request.body
    if (action === 'reset') await app.templates.reset(name)
    else await app.templates.save(name, body.replace(/\r\n?/g, '\n'))
    return saved(reply, `template ${name}`)
  })

  app.get('/websockets', { schema: { response: pageResponses } }, async (request, reply) => {
    const names = ['jpulse-ws-status', 'jpulse-ws-test', 'hello-emoji', 'hello-todo']
    const rows = await Promise.all(names.map(async (name) => ({ name, ...await app.wsNamespaces.get(name)!.stats() })))
    return sendPage(app, request, reply, { title: 'WebSockets · jPulse', path: '/admin/', content: webSocketStatus(rows) })
  })

  app.get('/users', { schema: { response: pageResponses } }, async (request, reply) => {
    const users = await app.documents.users.list(USERS_SHOWN)
    return sendPage(app, request, reply, { title: 'Users · jPulse', path: '/admin/', content: userList(users) })
  })
}

export default admin

function saved (reply: FastifyReply, what: string): FastifyReply {
  return reply.redirect(`/admin/?saved=${encodeURIComponent(what)}`, 303)
}

function parsed (json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw new InputError('The document is no JSON. Nothing was changed.')
  }
}
