import type { FastifyReply, FastifyRequest } from 'fastify'
import { beforeHead, rawReply, type CookieReply } from './caching.ts'
import type { Cookies } from './cookies.ts'
import type { KnownSession } from './known-session.ts'
import type { Renewal, WithCookie } from './renewal.ts'

/** What is used of the session of a request. */
interface Told {
  readonly request: FastifyRequest
  readonly reply: FastifyReply | null
  readonly token: string | undefined
  readonly isOver: boolean
  readonly known: KnownSession
  readonly session: WithCookie
}

/** How a browser hears that its session is new or ended: by the reply, or by what the application sends in its place. */
export class ReplyCookie {
  /** What became of the session is in the headers of the reply. */
  isSet = false
  /** Why it could not be made: an attribute that the application set. */
  refused: unknown = null
  /** The browser may have been sent the cookie of a session that this request ended. */
  mayBeThere = false
  readonly #told: Told
  readonly #renewal: Renewal
  readonly #cookies: Cookies
  #isWatched = false

  constructor (told: Told, renewal: Renewal, cookies: Cookies) {
    this.#told = told
    this.#renewal = renewal
    this.#cookies = cookies
  }

  set (reply: CookieReply, isEnded = this.#told.known.isEnded): void {
    const { known, session, request, token } = this.#told
    if (!isEnded && known.loaded !== null && known.isNew) this.#renewal.setCookie(reply, known, known.loaded, session)
    else if (isEnded && (token !== undefined || this.mayBeThere)) this.#cookies.clear(request, reply)
    this.isSet = true
  }

  /** Where nobody waits for an error, or there is one already. */
  trySet (reply: CookieReply): void {
    try {
      this.set(reply)
    } catch (err) {
      this.refused = err
    }
  }

  /** Where the application takes the reply over, no hook is asked before its headers leave. */
  setInHijacked (): void {
    const { reply } = this.#told
    if (reply === null || this.#isWatched || this.#told.isOver || !this.#cookies.isUsed) return
    this.#isWatched = true
    beforeHead(reply.raw, () => { if (reply.sent && !this.#told.isOver) this.trySet(rawReply(reply)) })
  }

  /** Whether the client left before the reply began. */
  get isLost (): boolean {
    const raw = this.#told.reply?.raw
    if (raw === undefined || raw.headersSent) return false
    return raw.destroyed || (raw as { stream?: { destroyed: boolean } }).stream?.destroyed === true
  }
}
