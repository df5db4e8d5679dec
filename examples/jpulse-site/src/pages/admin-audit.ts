import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Page } from '@jpulse/cursor-pagination'
import { Type } from 'typebox'
import type { AuditEntry } from '../audit/audit.ts'
import { html, type Html } from '../html.ts'
import { inWords } from '../user-agent.ts'
import { canonical } from '../users/canonical.ts'
import { ADMIN_PAGE, pageResponses, sendPage } from './page.ts'

const Query = Type.Object({ user: Type.Optional(Type.String({ maxLength: 64 })), cursor: Type.Optional(Type.String({ maxLength: 2000 })) })

/** What happened to accounts, and what administrators did, the latest first. */
const adminAudit: FastifyPluginAsyncTypebox = async (app) => {
  const { audit } = app.documents
  app.get('/audit', { schema: { querystring: Query, response: pageResponses } }, async (request, reply) => {
    const user = canonical(request.query.user ?? '')
    const { cursor } = request.query
    const page = await audit.use(() => app.paginate(audit.source(), {
      ...(user !== '' && { filter: { $or: [{ user }, { by: user }] } }), sort: { at: -1, _id: -1 }, limit: 50, ...(cursor !== undefined && { cursor })
    }))
    return sendPage(app, request, reply, { ...ADMIN_PAGE, title: 'Audit log · jPulse', content: auditList(page, user) })
  })
}

export default adminAudit

function auditList ({ items, pageInfo }: Page<AuditEntry>, user: string): Html {
  const link = (cursor: string | null, label: string, rel: string) => cursor === null
    ? html`<span class="button off" aria-disabled="true">${label}</span>`
    : html`<a class="button" rel="${rel}" href="?${new URLSearchParams({ ...(user !== '' && { user }), cursor })}">${label}</a>`
  return html`
    <section class="hero"><h1>Audit log</h1><p class="lead">What happened to accounts, and what administrators did, the latest first.</p></section>
    <form class="card" method="get" action="/admin/audit" role="search"><label>User name <input name="user" value="${user}" maxlength="64"></label> <button type="submit">Show</button></form>
    <div class="card scroll" tabindex="0" role="region" aria-label="Audit log"><table>
      <thead><tr>${['When (UTC)', 'Account', 'What', 'From', 'With'].map((heading) => html`<th scope="col">${heading}</th>`)}</tr></thead>
      <tbody>${items.map(({ at, user, what, by, ip, userAgent }) => html`
        <tr><td><time datetime="${at.toISOString()}">${at.toISOString().slice(0, 19).replace('T', ' ')}</time></td><td>${user}</td><td>${what}${by !== undefined && `, by ${by}`}</td><td>${ip}</td><td>${userAgent !== '' && inWords(userAgent)}</td></tr>`)}</tbody>
    </table></div>
    <nav class="pages" aria-label="Pages">${link(pageInfo.prevCursor, '← Newer', 'prev')} ${link(pageInfo.nextCursor, 'Older →', 'next')}</nav>`
}
