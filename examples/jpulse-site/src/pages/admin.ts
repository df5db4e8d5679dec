import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { versionOf as versionOfDocument } from '@jpulse/config-cache'
import { DOCUMENTS } from '../admin/editable.ts'
import { edit, saveSeen, versionOf } from '../admin/edits.ts'
import { EditedError, InputError } from '../errors.ts'
import adminAudit from './admin-audit.ts'
import adminFlags, { flagViews } from './admin-flags.ts'
import adminSessions from './admin-sessions.ts'
import adminUsers from './admin-users.ts'
import adminWebSockets from './admin-websockets.ts'
import { adminPage, type Again, againPage } from './admin-views.ts'
import { pageResponses, sendPage } from './page.ts'

const Version = Type.Optional(Type.String({ maxLength: 100 }))
const Document = Type.Object({ version: Version, collection: Type.String({ maxLength: 64 }), key: Type.String({ maxLength: 64 }), value: Type.String({ maxLength: 20_000 }) })
const Template = Type.Object({ version: Version, name: Type.String({ maxLength: 32 }), body: Type.Optional(Type.String({ maxLength: 20_000 })), action: Type.Optional(Type.Enum(['save', 'reset'])) })
const Saved = Type.Object({ saved: Type.Optional(Type.String({ maxLength: 100 })) })
const Entry = Type.Object({ id: Type.String({ maxLength: 64 }) })

/** Flags, configuration, templates, sockets and users, for administrators (admin-gate.ts). When a form has been answered, no worker serves what was before. */
const admin: FastifyPluginAsyncTypebox = async (app) => {
  const sendAgain = (request: FastifyRequest, reply: FastifyReply, again: Again) =>
    sendPage(app, request, reply, { title: 'Admin · jPulse', path: '/admin/', content: againPage(again) })

  app.get('/', { schema: { querystring: Saved, response: pageResponses } }, async (request, reply) => {
    const [flags, documents, names] = await Promise.all([
      flagViews(app),
      Promise.all(DOCUMENTS.map(async (document) => {
        const stored = await app.configCache.get(document.key, { collection: document.collection })
        return { ...document, value: stored ?? document.initial, version: versionOfDocument(stored) }
      })),
      app.templates.names()
    ])
    const templates = await Promise.all(names.map(async (name) => {
      const body = await app.templates.source(name)
      return { name, body, version: versionOf(body) }
    }))
    return sendPage(app, request, reply, { title: 'Admin · jPulse', path: '/admin/', content: adminPage({ saved: request.query.saved, flags, documents, templates }) })
  })

  await app.register(adminFlags)
  await app.register(adminUsers)
  await app.register(adminSessions)
  await app.register(adminAudit)
  await app.register(adminWebSockets)

  const configured = ({ body: { collection, key } }: FastifyRequest<{ Body: Static<typeof Document> }>) => ({ what: `edited the document ${collection}/${key}` })
  app.post('/config', { config: { act: configured }, schema: { body: Document, response: pageResponses } }, async (request, reply) => {
    const { collection, key, value, version } = request.body
    if (!DOCUMENTS.some((document) => document.collection === collection && document.key === key)) throw new InputError('There is no such document.')
    const what = `document ${key}`
    const again = { what, action: '/admin/config', field: 'value', yours: value }
    try {
      const document = parsed(value)
      await saveSeen({ what, version, read: () => app.configCache.get(key, { collection }), save: (ifVersion) => app.configCache.set(key, document, { collection, ...ifVersion }) })
    } catch (err) {
      if (err instanceof InputError) return sendAgain(request, reply.code(400), { ...again, hidden: { collection, key, ...(version !== undefined && { version }) }, problem: err.message })
      const { version: now, current, problem } = editedBy(err)
      return sendAgain(request, reply.code(409), { ...again, hidden: { collection, key, version: now }, problem, theirs: JSON.stringify(current, null, 2) })
    }
    return saved(reply, what)
  })

  const templated = ({ body: { name, action } }: FastifyRequest<{ Body: Static<typeof Template> }>) => ({ what: action === 'reset' ? `took the template ${name} back to its file` : `edited the template ${name}` })
  app.post('/templates', { config: { act: templated }, bodyLimit: 128 * 1024, schema: { body: Template, response: pageResponses } }, async (request, reply) => {
    const { name, body = '', action = 'save', version } = request.body
    const what = `template ${name}`
    const text = body.replace(/\r\n?/g, '\n')
    try {
      await edit(app, { what, version, read: () => app.templates.source(name), save: () => action === 'reset' ? app.templates.reset(name) : app.templates.save(name, text) })
    } catch (err) {
      const { version, current, problem } = editedBy(err)
      return sendAgain(request, reply.code(409), { what, action: '/admin/templates', hidden: { name, version }, problem, field: 'body', yours: text, theirs: String(current) })
    }
    return saved(reply, what)
  })

  const moderated = ({ body: { id } }: FastifyRequest<{ Body: Static<typeof Entry> }>) => ({ what: `removed the entry ${id} of the guest book` })
  app.post('/guestbook/remove', { config: { act: moderated }, schema: { body: Entry, response: pageResponses } }, async (request, reply) => {
    await app.documents.guestBook.remove(request.body.id)
    return reply.redirect('/guestbook', 303)
  })
}

export default admin

/** What is there now, where that is why nothing was saved. */
function editedBy (err: unknown): { current: unknown, version: string, problem: string } {
  if (!(err instanceof EditedError)) throw err
  return { ...err as unknown as { current: unknown, version: string }, problem: err.message }
}

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
