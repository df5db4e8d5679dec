import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { type Viewer, viewer } from '../auth/viewer.ts'
import { html, type Html } from '../html.ts'
import type { User } from '../users/users.ts'
import { ownPath, pageResponses, sendPage, toSignIn } from './page.ts'

const text = (maxLength: number) => Type.String({ maxLength })
const SignUp = Type.Object({ username: text(100), email: text(300), password: text(500), next: Type.Optional(text(600)) })
const SignIn = Type.Object({ username: text(300), password: text(500), next: Type.Optional(text(600)) })
const Passwords = Type.Object({ present: text(500), wanted: text(500) })
const Changed = Type.Object({ changed: Type.Optional(Type.String()) })
const Next = Type.Object({ next: Type.Optional(text(600)) })

interface FormView { heading: string, action: string, button: string, next: string, problem?: string, values?: { username?: string, email?: string } }

/** Signing up, in and out, and the profile. */
const account: FastifyPluginAsyncTypebox = async (app) => {
  const { accounts } = app
  const schema = { querystring: Next, response: pageResponses }
  const send = (request: FastifyRequest, reply: FastifyReply, path: string, title: string, content: Html) => sendPage(app, request, reply, { title: `${title} · jPulse`, path, content })

  app.get('/sign-up', { schema }, async (request, reply) => send(request, reply, '/sign-up', 'Sign up', signUpForm({ next: ownPath(request.query.next) })))
  app.post('/sign-up', { bodyLimit: 16_384, schema: { body: SignUp, response: pageResponses } }, async (request, reply) => {
    const { username, email, password } = request.body
    const next = ownPath(request.body.next)
    try {
      await accounts.signUp(request, { username, email, password })
    } catch (err) {
      return send(request, refused(err, reply), '/sign-up', 'Sign up', signUpForm({ next, problem: (err as Error).message, values: { username, email } }))
    }
    return reply.redirect(next, 303)
  })

  app.get('/sign-in', { schema }, async (request, reply) => send(request, reply, '/sign-in', 'Sign in', signInForm({ next: ownPath(request.query.next) })))
  app.post('/sign-in', { bodyLimit: 16_384, schema: { body: SignIn, response: pageResponses } }, async (request, reply) => {
    const { username, password } = request.body
    const next = ownPath(request.body.next)
    try {
      await accounts.signIn(request, username, password)
    } catch (err) {
      return send(request, refused(err, reply), '/sign-in', 'Sign in', signInForm({ next, problem: (err as Error).message, values: { username } }))
    }
    return reply.redirect(next, 303)
  })

  app.post('/sign-out', { schema: { response: pageResponses } }, async (request, reply) => {
    await app.sessions.logout(request)
    return reply.redirect('/', 303)
  })

  app.get('/profile', { schema: { querystring: Changed, response: pageResponses } }, async (request, reply) => {
    const me = viewer(app, request)
    if (me === null) return toSignIn(reply, '/profile')
    return send(request, reply, '/profile', 'Profile', profile({ me, user: await app.documents.users.find(me.username), isChanged: request.query.changed !== undefined }))
  })
  app.post('/profile/password', { bodyLimit: 16_384, schema: { body: Passwords, response: pageResponses } }, async (request, reply) => {
    const me = viewer(app, request)
    if (me === null) return toSignIn(reply, '/profile')
    try {
      await accounts.changePassword(request, me.username, request.body.present, request.body.wanted)
    } catch (err) {
      return send(request, refused(err, reply), '/profile', 'Profile', profile({ me, user: await app.documents.users.find(me.username), problem: (err as Error).message }))
    }
    return reply.redirect('/profile?changed', 303)
  })
}

export default account

/** What a visitor can mend is told beside the form; all else is an error page. */
function refused (err: unknown, reply: FastifyReply): FastifyReply {
  const { statusCode = 500, retryAfter } = err as { statusCode?: number, retryAfter?: number }
  if (statusCode < 400 || statusCode >= 500) throw err
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
  return reply.code(statusCode)
}

function profile ({ me, user, isChanged = false, problem }: { me: Viewer, user: User | null, isChanged?: boolean, problem?: string }): Html {
  return html`
    <h1>${me.username}</h1>${isChanged && html`
    <p class="card thanks" role="status">The password is changed, and your other devices are signed out.</p>`}${problem !== undefined && html`
    <p class="card notice" role="alert">${problem}</p>`}
    <dl class="card pairs"><div><dt>E-mail</dt><dd>${user?.email}</dd></div><div><dt>Role</dt><dd>${me.role}</dd></div>
      <div><dt>Since</dt><dd>${user?.createdAt.toISOString().slice(0, 10)}</dd></div></dl>
    <form class="card" method="post" action="/profile/password">
      <label for="present">Present password</label>
      <input id="present" name="present" type="password" maxlength="200" autocomplete="current-password" required>
      <label for="wanted">New password (10 characters or more)</label>
      <input id="wanted" name="wanted" type="password" minlength="10" maxlength="200" autocomplete="new-password" required>
      <button type="submit">Change the password</button>
    </form>`
}

function signUpForm (view: Pick<FormView, 'next' | 'problem' | 'values'>): Html {
  return form({ ...view, heading: 'Sign up', action: '/sign-up', button: 'Sign up' }, html`
      <label for="username">User name</label>
      <input id="username" name="username" value="${view.values?.username}" maxlength="32" autocomplete="username" required>
      <label for="email">E-mail</label>
      <input id="email" name="email" type="email" value="${view.values?.email}" maxlength="254" autocomplete="email" required>
      <label for="password">Password (10 characters or more)</label>
      <input id="password" name="password" type="password" minlength="10" maxlength="200" autocomplete="new-password" required>`)
}

function signInForm (view: Pick<FormView, 'next' | 'problem' | 'values'>): Html {
  return form({ ...view, heading: 'Sign in', action: '/sign-in', button: 'Sign in' }, html`
      <label for="username">User name or e-mail</label>
      <input id="username" name="username" value="${view.values?.username}" maxlength="254" autocomplete="username" required>
      <label for="password">Password</label>
      <input id="password" name="password" type="password" maxlength="200" autocomplete="current-password" required>`)
}

function form ({ heading, action, button, next, problem }: FormView, fields: Html): Html {
  return html`
    <section class="narrow">
    <h1>${heading}</h1>${problem !== undefined && html`
    <p class="card notice" role="alert">${problem}</p>`}
    <form class="card" method="post" action="${action}">${fields}
      <input type="hidden" name="next" value="${next}">
      <button type="submit">${button}</button>
    </form>
    <p class="other hint">${action === '/sign-in'
      ? html`No account yet? <a href="/sign-up?next=${encodeURIComponent(next)}">Sign up</a>`
      : html`An account already? <a href="/sign-in?next=${encodeURIComponent(next)}">Sign in</a>`}</p></section>`
}
