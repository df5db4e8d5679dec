import { randomBytes } from 'node:crypto'
import type {} from '@jpulse/config-cache'
import type {} from '@jpulse/redis-link'
import type {} from '@jpulse/redis-sessions'
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { CredentialsError, ForbiddenError, InputError, LockedError, NoAccountError, SignUpClosedError, TooManyError, UserExistsError } from '../errors.ts'
import { canonical } from '../users/canonical.ts'
import type { Role, User, Users } from '../users/users.ts'
import { Attempts, networkOf } from './attempts.ts'
import { checkPassword, hashPassword } from './password.ts'

const SIGN_UPS = 20
const WINDOW_MS = 300_000
/** How long a change of an account waits for another one. */
const LOCK_WAIT_MS = 2000

interface NewAccount {
  username: string
  email: string
  password: string
}

/** Signs people up and in. */
class Accounts {
  readonly #app: FastifyInstance
  readonly #attempts: Attempts
  readonly #cost: number

  constructor (app: FastifyInstance, passwordCost: number) {
    this.#app = app
    this.#attempts = new Attempts(app.redisLink.kv)
    this.#cost = passwordCost
  }

  /** Makes an account and signs it in. @throws CredentialsError, LockedError, InputError, UserExistsError, TooManyError, SignUpClosedError */
  async signUp (request: FastifyRequest, account: NewAccount): Promise<User> {
    if (await this.#app.configCache.isFeatureEnabled('sign-up-closed')) throw new SignUpClosedError()
    await this.#limit(`signup:${networkOf(request.ip)}`)
    const user = await this.#add(account, 'user')
    await this.#login(request, user)
    return user
  }

  /** The session gets a new id. @throws CredentialsError, LockedError, TooManyError */
  async signIn (request: FastifyRequest, name: string, password: string): Promise<User> {
    const attempt = await this.#attempts.begin(canonical(name), request.ip)
    const user = await this.#app.documents.users.find(name)
    if (!await checkPassword(password, user?.hash ?? null, this.#cost) || user === null) throw new CredentialsError()
    await attempt.right()
    if (user.locked === true) throw new LockedError()
    await this.#login(request, user)
    return user
  }

  /** For whoever has forgotten it: another password, which an administrator hands on, and which changes at /profile. Ends the sessions. @throws NoAccountError, ForbiddenError */
  async resetPassword (username: string, by: string): Promise<string> {
    const password = randomBytes(12).toString('base64url')
    const hash = await hashPassword(password, this.#cost)
    await this.#endSessions(username, await this.#changeBy(by, username, (users) => users.setHash(username, hash)))
    return password
  }

  /** Nobody can sign in with the account, and whoever is signed in with it is not any more. @throws NoAccountError, ForbiddenError */
  async lock (username: string, by: string): Promise<void> {
    await this.#endSessions(username, await this.#changeBy(by, username, (users) => users.setLocked(username, true)))
  }

  /** @throws NoAccountError, ForbiddenError */
  async unlock (username: string, by: string): Promise<void> {
    if (!await this.#changeBy(by, username, (users) => users.setLocked(username, false))) throw new NoAccountError(username)
  }

  /** @throws NoAccountError, ForbiddenError */
  async delete (username: string, by: string): Promise<void> {
    await this.#endSessions(username, await this.#changeBy(by, username, (users) => users.remove(username)))
  }

  /** On every device. @throws NoAccountError */
  async signOut (username: string): Promise<void> {
    await this.#endSessions(username, (await this.#app.documents.users.find(username))?.username === username)
  }

  /** Gives whoever is signed in another password and session id, and ends the sessions on other devices. @throws CredentialsError, InputError, TooManyError */
  async changePassword (request: FastifyRequest, username: string, present: string, wanted: string): Promise<void> {
    checkNew(wanted)
    const attempt = await this.#attempts.begin(username, request.ip)
    const user = await this.#app.documents.users.find(username)
    if (!await checkPassword(present, user?.hash ?? null, this.#cost) || user === null) throw new CredentialsError()
    await attempt.right()
    const hash = await hashPassword(wanted, this.#cost)
    // An administrator may have given it another one meanwhile, which stands.
    if (!await this.#change(username, (users) => users.setHash(username, hash, user.hash))) throw new CredentialsError()
    // It is changed, whether or not that can be written.
    await this.#app.documents.audit.add({ what: 'changed the password', user: username, ip: request.ip, userAgent: request.headers['user-agent'] ?? '' })
      .catch((err: unknown) => request.log.error({ err, user: username }, 'not written to the audit log'))
    await this.#app.sessions.logoutOthers(request)
    // Who has a copy of this device's cookie is out too.
    await request.session.regenerate(['role'])
  }

  /** Makes the account that the environment names, where it is missing. Other workers do the same at the same time. */
  async ensureAdmin (account: NewAccount, log: FastifyBaseLogger): Promise<void> {
    if (await this.#app.documents.users.find(account.username) !== null) return
    try {
      await this.#add(account, 'admin')
      log.info({ username: account.username }, 'the administrator\'s account was made')
    } catch (err) {
      if (!(err instanceof UserExistsError)) throw err
    }
  }

  /** @throws CredentialsError, LockedError where that was true of the account as it was looked up, and is not any more */
  async #login (request: FastifyRequest, { username, role, hash }: User): Promise<void> {
    await this.#app.sessions.login(request, username, { role })
    // Who locks or deletes an account or gives it another password ends its sessions, and may have done so before this one was there.
    const now = await this.#app.documents.users.find(username)
    if (now?.hash === hash && now.locked !== true) return
    await this.#app.sessions.logout(request)
    throw now?.hash === hash ? new LockedError() : new CredentialsError()
  }

  /** Also where the account is gone: whoever deleted it may have come no further. */
  async #endSessions (username: string, isThere: boolean): Promise<void> {
    await this.#app.sessions.logoutAll(username)
    if (!isThere) throw new NoAccountError(username)
  }

  /** One change of an account at a time: FerretDB reads and writes in two steps, and one change would undo another of the same moment, of a lock say. */
  #change<T> (username: string, work: (users: Users) => Promise<T>): Promise<T> {
    return this.#alone(`account:${username}`, () => work(this.#app.documents.users))
  }

  /** What one administrator does at a time, who may have been locked or deleted meanwhile: of two who lock each other one is left. */
  #changeBy<T> (by: string, username: string, work: (users: Users) => Promise<T>): Promise<T> {
    return this.#alone('administrators', async () => {
      const actor = await this.#app.documents.users.find(by)
      if (actor?.role !== 'admin' || actor.locked === true) throw new ForbiddenError()
      return this.#change(username, work)
    })
  }

  async #alone<T> (name: string, work: () => Promise<T>): Promise<T> {
    let done: { value: T } | undefined
    try {
      await this.#app.redisLink.using(name, { waitMs: LOCK_WAIT_MS }, async () => { done = { value: await work() } })
    } catch (err) {
      // A lock that is lost after the change was made: what follows on it, such as the end of the sessions, has to be done.
      if (done === undefined) throw err
    }
    return done!.value
  }

  async #add ({ username, email, password }: NewAccount, role: Role): Promise<User> {
    const user = { username: checkUsername(username), email: checkEmail(email), hash: await hashPassword(checkNew(password), this.#cost), role, createdAt: new Date() }
    const { users } = this.#app.documents
    // One that is stored in another form is not the same to the index.
    const known = await users.find(email)
    if (known !== null && known.email !== user.email) throw new UserExistsError('e-mail address')
    await users.add(user)
    return user
  }

  /** Counts over all workers. */
  async #limit (name: string): Promise<void> {
    const { allowed, retryAfterMs } = await this.#app.redisLink.rateLimit(name, SIGN_UPS, WINDOW_MS)
    if (!allowed) throw Object.assign(new TooManyError(), { retryAfter: Math.ceil(retryAfterMs / 1000) })
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    accounts: Accounts
  }
}

export default fp(async (app: FastifyInstance, { passwordCost }: { passwordCost: number }) => {
  app.decorate('accounts', new Accounts(app, passwordCost))
}, { name: 'site-accounts', fastify: '5.x', dependencies: ['@jpulse/redis-sessions', 'site-documents'] })

function checkUsername (text: string): string {
  const username = canonical(text)
  if (!/^[a-z0-9][a-z0-9._-]{1,31}$/.test(username)) throw new InputError('A user name has 2 to 32 letters, digits, dots, dashes or underscores.')
  return username
}

function checkEmail (text: string): string {
  const email = canonical(text)
  if (!/^[^\s@]{1,64}@[^\s@]{1,190}$/.test(email)) throw new InputError('Please give an e-mail address.')
  return email
}

function checkNew (password: string): string {
  if (password.length < 10 || password.length > 200) throw new InputError('A password has 10 to 200 characters.')
  return password
}
