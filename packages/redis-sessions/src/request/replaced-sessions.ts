import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { isSame, jsonOf } from '../record/fields.ts'
import { Session } from './session.ts'

/** The session objects that a request had before the one it has. What is written to them goes nowhere. */
export class ReplacedSessions {
  /** With their fields as they were then. */
  readonly #replaced: Array<[session: Session, json: string | null]> = []

  add (session: Session): void {
    this.#replaced.push([session, jsonOf(session)])
  }

  /** Warns of what a request wrote to an object that is not, or not any more, its session. */
  warnOfLost ({ session, id: reqId, routeOptions }: FastifyRequest, log: FastifyBaseLogger): void {
    if (session as unknown !== null && session !== undefined && Session.knownOf(session) === undefined) {
      log.warn({ reqId, url: routeOptions?.url }, 'request.session was replaced by an object that is no session, of which nothing is stored: set the fields of request.session, or use login or regenerate')
    }
    if (this.#replaced.some(([replaced, json]) => replaced !== session && json !== null && !isSame(json, replaced))) {
      log.warn({ reqId, url: routeOptions?.url }, 'a request wrote to the session object of before login or regenerate, which is not stored: take request.session anew after them')
    }
  }
}
