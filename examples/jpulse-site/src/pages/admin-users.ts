import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Page } from '@jpulse/cursor-pagination'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { mustViewer } from '../auth/viewer.ts'
import { InputError } from '../errors.ts'
import { html, type Html } from '../html.ts'
import { canonical, formsOf } from '../users/canonical.ts'
import type { ListedUser } from '../users/users.ts'
import { ADMIN_PAGE, pageResponses, sendPage } from './page.ts'

const Query = Type.Object({ search: Type.Optional(Type.String({ maxLength: 100 })), cursor: Type.Optional(Type.String({ maxLength: 2000 })), done: Type.Optional(Type.String({ maxLength: 100 })) })
const Act = Type.Object({ username: Type.String({ minLength: 1, maxLength: 64 }), action: Type.Enum(['sign-out', 'reset', 'lock', 'unlock', 'delete']) })
const LISTED = { _id: 1, email: 1, role: 1, createdAt: 1, locked: 1 } as const

const DONE = { reset: '', 'sign-out': 'is signed out everywhere', lock: 'is locked', unlock: 'can sign in again', delete: 'is deleted' }

const WRITTEN = { reset: 'new password', 'sign-out': 'signed out everywhere', lock: 'locked', unlock: 'unlocked', delete: 'deleted' }

/** Accounts, newest first, found by the begin of their name or address; locked, deleted, their sessions ended. */
const adminUsers: FastifyPluginAsyncTypebox = async (app) => {
  const { accounts, documents: { users } } = app

  const send = async (request: FastifyRequest, reply: FastifyReply, { search = '', cursor, done }: Static<typeof Query>) => {
    const wanted = canonical(search)
    if (/\p{Cc}/u.test(wanted)) throw new InputError('A name or an address has no control characters.')
    const begins = formsOf(search).map((form) => ({ $regex: `^${form.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}` }))
    const page = await users.use(() => app.paginate(users.source(), {
      ...(wanted !== '' && { filter: { $or: begins.flatMap((begin) => [{ _id: begin }, { email: begin }]) } }), sort: { createdAt: -1, _id: 1 }, limit: 50, projection: LISTED, ...(cursor !== undefined && { cursor })
    }))
    return sendPage(app, request, reply, { ...ADMIN_PAGE, title: 'Users · jPulse', content: userList(page, wanted, done) })
  }

  app.get('/users', { schema: { querystring: Query, response: pageResponses } }, async (request, reply) => {
    return send(request, reply, request.query)
  })

  const act = ({ body }: FastifyRequest<{ Body: Static<typeof Act> }>) => ({ user: body.username, what: WRITTEN[body.action] })
  app.post('/users', { config: { act }, schema: { body: Act, response: pageResponses } }, async (request, reply) => {
    const { username, action } = request.body
    const by = mustViewer(app, request).username
    // Somebody has to be left who can undo it.
    if (action !== 'sign-out' && username === by) throw new InputError('Your own account is for another administrator to lock or delete.')
    request.log.info({ username, action, by }, 'an account is administered')
    // Shown once, and in no address.
    if (action === 'reset') return send(request, reply, { search: username, done: `${username} has the password ${await accounts.resetPassword(username, by)}` })
    if (action === 'lock') await accounts.lock(username, by)
    else if (action === 'delete') await accounts.delete(username, by)
    else if (action === 'unlock') await accounts.unlock(username, by)
    else await accounts.signOut(username)
    return told(reply, `${username} ${DONE[action]}`)
  })
}

export default adminUsers

const told = (reply: FastifyReply, what: string): FastifyReply => reply.redirect(`/admin/users?done=${encodeURIComponent(what)}`, 303)

function userList ({ items, pageInfo }: Page<ListedUser>, search: string, done: string | undefined): Html {
  const link = (cursor: string | null, label: string, rel: string) => cursor === null
    ? html`<span class="button off" aria-disabled="true">${label}</span>`
    : html`<a class="button" rel="${rel}" href="?${new URLSearchParams({ ...(search !== '' && { search }), cursor })}">${label}</a>`
  return html`
    <section class="hero"><h1>Users</h1><p class="lead">The newest accounts first; the name leads to where it is signed in. One that ADMIN_USERNAME names comes back after Delete, at the next start.</p></section>${done !== undefined && html`
    <p class="notice" role="status">${done}</p>`}
    <form class="card" method="get" action="/admin/users" role="search"><label>Name or address begins with <input name="search" value="${search}" maxlength="100"></label> <button type="submit">Search</button></form>
    <div class="card scroll" tabindex="0" role="region" aria-label="Users"><table>
      <thead><tr>${['User name', 'E-mail', 'Role', 'Since', 'Account'].map((heading) => html`<th scope="col">${heading}</th>`)}</tr></thead>
      <tbody>${items.map(({ _id: username, email, role, createdAt, locked = false }) => html`
        <tr><td><a href="/admin/users/${username}/sessions" aria-label="Sessions of ${username}">${username}</a></td><td>${email}</td><td>${role}${locked && ', locked'}</td><td>${createdAt.toISOString().slice(0, 10)}</td>
          <td><div class="actions">${button(username, 'sign-out', 'Sign out everywhere')} ${button(username, 'reset', 'New password')} ${locked ? button(username, 'unlock', 'Unlock') : button(username, 'lock', 'Lock')} ${button(username, 'delete', 'Delete')}</div></td></tr>`)}</tbody>
    </table></div>
    <nav class="pages" aria-label="Pages">${link(pageInfo.prevCursor, '← Previous', 'prev')} ${link(pageInfo.nextCursor, 'Next →', 'next')}</nav>`
}

const button = (username: string, action: string, label: string): Html => html`<form method="post" action="/admin/users"><input type="hidden" name="username" value="${username}"><input type="hidden" name="action" value="${action}"><button type="submit" class="quiet" aria-label="${label}: ${username}">${label}</button></form>`
