import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { ClusterStats } from '@jpulse/ws-namespaces'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { mustViewer } from '../auth/viewer.ts'
import { html, type Html } from '../html.ts'
import { type Endpoint, EndpointShape, MOST } from '../live/endpoint.ts'
import { BUILT_IN } from '../live/namespaces.ts'
import { ADMIN_PAGE, pageResponses, sendPage } from './page.ts'

const Query = Type.Object({ done: Type.Optional(Type.String({ maxLength: 300 })) })
const Box = Type.Optional(Type.Literal('on'))
const Add = Type.Object({ name: EndpointShape.properties.name, audience: EndpointShape.properties.audience, sending: Box, history: Box, presence: Box })
const Remove = Type.Object({ name: Type.String({ maxLength: 64 }) })

/** The namespaces, counted over the cluster, and those that an administrator made. */
const adminWebSockets: FastifyPluginAsyncTypebox = async (app) => {
  const { endpoints } = app
  /** While the documents are out of reach, those that this worker has. */
  const ownEndpoints = async ({ log }: FastifyRequest): Promise<{ own: Endpoint[], isKnown: boolean }> => {
    try {
      return { own: await endpoints.list(), isKnown: true }
    } catch (err) {
      log.debug({ err }, 'the list of endpoints is out of reach')
      return { own: endpoints.known(), isKnown: false }
    }
  }

  app.get('/websockets', { schema: { querystring: Query, response: pageResponses } }, async (request, reply) => {
    const { own, isKnown } = await ownEndpoints(request)
    const names = [...BUILT_IN, ...own.map(({ name }) => name)]
    const rows = await Promise.all(names.map(async (name) => ({ name, stats: await app.wsNamespaces.get(name)?.stats() })))
    const { done } = request.query
    return sendPage(app, request, reply, { ...ADMIN_PAGE, title: 'WebSockets · jPulse', content: html`${statusTable(rows, done)}${endpointForms(own, isKnown)}` })
  })

  const opened = ({ body: { name, audience, ...boxes } }: FastifyRequest<{ Body: Static<typeof Add> }>) =>
    ({ what: `opened the WebSocket endpoint ${name}, ${inWords({ audience, sending: boxes.sending === 'on', history: boxes.history === 'on', presence: boxes.presence === 'on' })}` })
  app.post('/websockets', { config: { act: opened }, schema: { body: Add, response: pageResponses } }, async (request, reply) => {
    const { name, audience, sending, history, presence } = request.body
    const endpoint = { name, audience, sending: sending === 'on', history: history === 'on', presence: presence === 'on' }
    const late = await endpoints.add(endpoint)
    request.log.info({ endpoint, by: mustViewer(app, request).username }, 'a WebSocket endpoint is made')
    return told(reply, `${name} is open`, late)
  })

  const removed = ({ body: { name } }: FastifyRequest<{ Body: Static<typeof Remove> }>) => ({ what: `removed the WebSocket endpoint ${name}` })
  app.post('/websockets/remove', { config: { act: removed }, schema: { body: Remove, response: pageResponses } }, async (request, reply) => {
    const { name } = request.body
    const late = await endpoints.remove(name)
    request.log.info({ name, by: mustViewer(app, request).username }, 'a WebSocket endpoint is removed')
    return told(reply, `${name} is removed`, late)
  })
}

export default adminWebSockets

function told (reply: FastifyReply, what: string, late: readonly string[]): FastifyReply {
  const done = late.length === 0 ? `${what}, on every worker.` : `${what}; ${late.slice(0, 5).join(', ')}${late.length > 5 ? ' and others' : ''} will follow.`
  return reply.redirect(`/admin/websockets?${new URLSearchParams({ done })}`, 303)
}

function statusTable (rows: Array<{ name: string, stats: ClusterStats[string] | undefined }>, done: string | undefined): Html {
  return html`
    <section class="hero"><h1>WebSockets</h1><p class="lead">The namespaces, counted over the whole cluster. <a href="/admin/websockets">Count again</a></p></section>${done !== undefined && html`
    <p class="card thanks" role="status">${done}</p>`}
    <div class="card scroll" tabindex="0" role="region" aria-label="Namespaces"><table>
      <thead><tr>${['Namespace', 'Status', 'Connections', 'Users', 'Messages', 'Dropped', 'Instances'].map((heading) => html`<th scope="col">${heading}</th>`)}</tr></thead>
      <tbody>${rows.map(({ name, stats }) => html`
        <tr data-namespace="${name}"><td><code>${name}</code></td>${stats === undefined ? html`<td colspan="6">not on this worker yet</td>` : figures(stats)}</tr>`)}</tbody>
    </table></div>`
}

const figures = ({ status, connections, users, messages, drops, instances }: ClusterStats[string]): Html => html`<td><span class="state ${status === 'green' ? 'up' : ''}">${status}</span></td><td>${connections}</td><td>${users}</td><td>${messages}</td>
          <td>${drops.oversize + drops.rateLimit + drops.invalid + drops.slow}</td><td>${instances}</td>`

function endpointForms (own: readonly Endpoint[], isKnown: boolean): Html {
  return html`
    <section class="card" aria-labelledby="endpoints"><h2 id="endpoints">Endpoints of your own</h2>
      <p class="hint">At <code>/api/1/ws/</code> and the name, ${MOST} at most. Administrators send by <code>POST /api/1/ws/name/broadcast</code>.</p>${!isKnown && html`
      <p class="notice">The list is out of reach for the moment. These are the endpoints that this worker has; none can be opened or removed.</p>`}
      <ul class="flags">${own.map(({ name, id, ...endpoint }) => html`
        <li><div><code>${name}</code><p class="hint">${inWords(endpoint)}</p></div>${isKnown && html`
          <form method="post" action="/admin/websockets/remove"><input type="hidden" name="name" value="${name}"><button type="submit" class="quiet" aria-label="Remove ${name}">Remove</button></form>`}</li>`)}</ul>
      ${isKnown && own.length < MOST && html`<h3>A new one</h3>
      <form method="post" action="/admin/websockets">
        <label for="name">Name</label><p class="hint">1 to 32 small letters, digits and dashes.</p>
        <input id="name" name="name" maxlength="32" pattern="[a-z0-9]([a-z0-9\\-]{0,30}[a-z0-9])?" autocomplete="off" required>
        <label for="audience">Who may connect</label>
        <select id="audience" name="audience"><option value="users">Whoever is signed in</option><option value="admins">Administrators</option></select>
        <ul class="boxes">${BOXES.map(([field, label]) => html`
          <li><label><input type="checkbox" name="${field}"> <span>${label}</span></label></li>`)}</ul>
        <p class="actions"><button type="submit">Open the endpoint</button></p></form>`}</section>`
}

const BOXES = [['sending', 'Who is connected may send to all'], ['history', 'Who comes back gets what was missed'], ['presence', 'Each hears who comes and goes']] as const

function inWords ({ audience, sending, history, presence }: Omit<Endpoint, 'name' | 'id'>): string {
  return [audience === 'admins' ? 'for administrators' : 'for whoever is signed in', sending && 'all may send', history && 'with history', presence && 'with presence'].filter(Boolean).join(', ')
}
