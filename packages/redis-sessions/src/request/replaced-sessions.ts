import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { isSame, jsonOf } from '../record/fields.ts'
import { Session } from './session.ts'

/** The session objects that a request had before the one it has. What is written to them goes nowhere. */
export class ReplacedSessions {
  /** With their fields as they were then. */
  readonly #replaced: Array<[session: Session, json: string | null]> = []
  /** Of what was warned: the end of a request comes twice where its reply streams. */
  readonly #warned = new Set<unknown>()

  add (session: Session): void {
    this.#replaced.push([session, jsonOf(session)])
  }

  /** Warns, once of each, of what a request wrote to an object that is not, or not any more, its session. */
  warnOfLost ({ session, id: reqId, routeOptions }: FastifyRequest, log: FastifyBaseLogger): void {
    if (session as unknown !== null && session !== undefined && Session.knownOf(session) === undefined && this.#isFirst(session)) {
      log.warn({ reqId, url: routeOptions?.url }, 'request.session was replaced by an object that is no session, of which nothing is stored: set the fields of request.session, or use login or regenerate')
    }
    const lost = this.#replaced.find(([replaced, json]) => replaced !== session && json !== null && !isSame(json, replaced))
    if (lost !== undefined && this.#isFirst(lost[0])) {
      log.warn({ reqId, url: routeOptions?.url }, 'a request wrote to the session object of before login or regenerate, which is not stored: take request.session anew after them')
    }
  }

  #isFirst (object: unknown): boolean {
    const isFirst = !this.#warned.has(object)
    this.#warned.add(object)
    return isFirst
  }
}
