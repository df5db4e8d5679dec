import { FST_ERR_REDIS_SESSIONS_UNREADABLE } from '../errors.ts'
import type { Events, RefusedSession } from '../events.ts'
import { refOf } from '../stores/ids.ts'
import type { Fields } from '../vault/fields.ts'
import { newMeta, type Asking } from '../vault/record.ts'
import type { Loaded } from '../vault/vault.ts'
import type { Shared } from './shared.ts'

/** What came of the token that a request presented. */
export interface Presented {
  /** The id that the token carried with a valid signature. */
  readonly id: string | null
  /** The token is signed with a secret that is on its way out. */
  readonly isOld: boolean
  readonly found: (Loaded & { fields: Fields }) | null
  /** Why the session could not be read: thrown where the request touches it. */
  readonly failure: Error | null
  /** Another instance can read what is stored: nothing is put in its place. */
  readonly unreadable: Error | null
}

export const NOTHING_PRESENTED: Presented = { id: null, isOld: false, found: null, failure: null, unreadable: null }

/** Looks for the session of a token. Never rejects. */
export async function findPresented (token: string, request: Asking, { vault, signer, events }: Pick<Shared, 'vault' | 'signer' | 'events'>): Promise<Presented> {
  const { id, isOld } = signer.unsign(token)
  const ref = id === null ? null : refOf(id)
  if (ref === null) {
    tellRefused(events, request, 'signature')
    return NOTHING_PRESENTED
  }
  const presented = { ...NOTHING_PRESENTED, id, isOld }
  try {
    const found = await vault.open(ref)
    if (found === null) tellRefused(events, request, 'unknown')
    return { ...presented, found }
  } catch (err) {
    if (!(err instanceof FST_ERR_REDIS_SESSIONS_UNREADABLE)) return { ...presented, failure: err as Error }
    tellRefused(events, request, 'unreadable')
    return { ...presented, unreadable: err }
  }
}

function tellRefused (events: Events, request: Asking, reason: RefusedSession['reason']): void {
  if (!events.hears('refused')) return
  const { ip, userAgent } = newMeta(request, null)
  events.tell('refused', { reason, ip, userAgent })
}
