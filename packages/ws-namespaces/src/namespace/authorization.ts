import { EXPIRING } from '@jpulse/ws-client/wire'
import { Close } from '../codes.ts'
import { Frame } from '../delivery/frame.ts'
import { isName } from '../ids.ts'
import type { Identity } from './connection.ts'
import type { Definition } from './definition.ts'
import type { Peer } from './peer.ts'

/** Longest credentials, in characters. */
const LONGEST = 16_384
const SWEEP_MS = 250
/** A client is told so long before the end, or at half of its time where that is shorter; then again at half of what is left. */
const NOTICE_MS = 60_000
/** An `expiresAt` before 1973 is in seconds by mistake. */
const LEAST_MS = 100_000_000_000

/**
 * What `authorize` or `renew` returned, checked. `denied` where it lets nobody in.
 *
 * @throws TypeError where it returned what neither may
 */
export function identityOf (given: Identity | false | null | undefined, { public: isPublic }: Definition): Identity | 'forbidden' | 'unauthorized' {
  if (given === false) return 'forbidden'
  if (given === null || given === undefined) return 'unauthorized'
  if (typeof given !== 'object' || !(given.userId === null ? isPublic : isName(given.userId))) {
    throw new TypeError('authorize must return { userId }, false or null; a userId is a text of 1 to 512 well-formed characters, or null where the namespace is public')
  }
  const end = endOf(given)
  if (end !== null && !(end >= LEAST_MS)) throw new TypeError('expiresAt must be a Date, or milliseconds since 1970')
  return end !== null && end <= Date.now() ? 'unauthorized' : given
}

/** When an authorisation ends; null where it does not. */
export function endOf ({ expiresAt }: Identity): number | null {
  return expiresAt === undefined ? null : Number(expiresAt)
}

/** Ends connections whose authorisation has ended, and tells their clients before. */
export class Expiries {
  readonly #notices = new Map<Peer, number>()
  readonly #timer: NodeJS.Timeout

  /** @param onSweep is called each time, a few times in a second */
  constructor (onSweep: () => void = () => {}) {
    this.#timer = setInterval(() => {
      onSweep()
      this.#sweep(Date.now())
    }, SWEEP_MS).unref()
  }

  /** Also after the authorisation was renewed. */
  add (peer: Peer): void {
    const [now, end] = [Date.now(), endOf(peer.ctx)]
    if (end === null) this.#notices.delete(peer)
    else this.#notices.set(peer, end - Math.min(NOTICE_MS, (end - now) / 2))
  }

  remove (peer: Peer): void {
    this.#notices.delete(peer)
  }

  stop (): void {
    clearInterval(this.#timer)
  }

  #sweep (now: number): void {
    for (const [peer, noticeAt] of this.#notices) {
      const expiresAt = endOf(peer.ctx)!
      if (now >= expiresAt) {
        this.#notices.delete(peer)
        if (!peer.isOpen || peer.ended !== null) continue
        peer.fail('AUTHORIZATION_EXPIRED')
        peer.close(Close.unauthenticated, 'authorization expired')
      } else if (now >= noticeAt) {
        this.#notices.set(peer, now + (expiresAt - now) / 2)
        peer.deliver(new Frame(JSON.stringify({ type: EXPIRING, data: { expiresAt } })), null, false)
      }
    }
  }
}

/**
 * Renews the authorisation of an open connection. Null where the credentials are refused, or are of another user, which a connection
 * cannot become: then the authorisation ends when it would have.
 */
export async function renew (conn: Peer, credentials: unknown, expiries: Expiries): Promise<{ expiresAt: number | null } | null> {
  const { definition } = conn.hub
  if (definition.renew === undefined || typeof credentials !== 'string' || credentials === '' || credentials.length > LONGEST) return null
  const given = identityOf(await ask(conn, credentials), definition)
  if (typeof given === 'string' || given.userId !== conn.userId || conn.ended !== null) return null
  conn.ctx = given
  expiries.add(conn)
  return { expiresAt: endOf(given) }
}

/** An error with a 4xx status is an answer, as of `authorize`. */
async function ask (conn: Peer, credentials: string): Promise<Identity | false | null | undefined> {
  try {
    return await conn.hub.definition.renew!(conn, credentials)
  } catch (err) {
    const { statusCode } = err as { statusCode?: unknown }
    if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) return null
    throw err
  }
}
