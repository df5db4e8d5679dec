import { FST_ERR_REDIS_SESSIONS_UNREADABLE } from '../errors.ts'
import type { Events, RefusedSession } from '../events.ts'
import { newMeta, type Requester } from '../record/record.ts'
import type { Opened } from '../record/session-records.ts'
import type { Shared } from './shared.ts'

/** What became of the token that a request carries. */
export interface TokenLookup {
  /** The id that the token carried with a valid signature. */
  readonly id: string | null
  /** The token that counts; null where none came. */
  readonly token: string | null
  /** The token is signed with a secret that is on its way out. */
  readonly isOld: boolean
  readonly found: Opened | null
  /** Why the session could not be read: thrown where the request touches it. */
  readonly failure: Error | null
  /** Another instance can read what is stored: nothing is put in its place. */
  readonly unreadable: Error | null
  /** Why it is no session. */
  readonly refused: RefusedSession['reason'] | null
}

export const NO_TOKEN: TokenLookup = { id: null, token: null, isOld: false, found: null, failure: null, unreadable: null, refused: null }

async function lookUpToken (token: string, { records, signer }: Pick<Shared, 'records' | 'signer'>): Promise<TokenLookup> {
  const { id, ref, isOld } = signer.unsign(token)
  if (ref === null) return { ...NO_TOKEN, token, refused: 'signature' }
  try {
    const found = await records.open(ref)
    return { id, token, isOld, found, failure: null, unreadable: null, refused: found === null ? 'unknown' : null }
  } catch (err) {
    const isUnreadable = err instanceof FST_ERR_REDIS_SESSIONS_UNREADABLE
    return { id, token, isOld, found: null, failure: isUnreadable ? null : err as Error, unreadable: isUnreadable ? err : null, refused: isUnreadable ? 'unreadable' : null }
  }
}

/**
 * Looks for the session of a request. A dead cookie may stand before a living one: of another path or domain, or of a name of
 * before. Never rejects.
 *
 * @param others further tokens, tried where the first is none
 */
export async function lookUpTokens (first: string, shared: Shared, request: Requester, others: () => readonly string[]): Promise<TokenLookup> {
  const lookup = await lookUpToken(first, shared)
  if (lookup.refused === null) return lookup
  for (const token of others()) {
    const other = await lookUpToken(token, shared)
    if (other.refused === null) return other
  }
  emitRefused(shared.events, request, lookup.refused)
  return lookup
}

function emitRefused (events: Events, request: Requester, reason: RefusedSession['reason']): void {
  if (!events.hasListener('refused')) return
  const { ip, userAgent } = newMeta(request, null)
  events.emit('refused', { reason, ip, userAgent })
}
