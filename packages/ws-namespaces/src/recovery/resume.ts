import type { Delivery, Logged, Opening, Place } from '../delivery/carrier.ts'
import type { ClientRecord, Known, Membership } from './records.ts'

/** What a client that comes back gets of what it missed. */
export interface Resumption {
  readonly recovered: boolean
  readonly missed: readonly Logged[]
}

/** Who comes back, as it is now. */
export interface Returning {
  readonly clientId: string
  readonly userId: string | null
  readonly rooms: ReadonlySet<string>
}

const NOTHING: Resumption = Object.freeze({ recovered: false, missed: Object.freeze([]) })

/** Whether a record is of the user who comes back: an offset belongs to a user. */
export function isOf (known: Known, { userId }: Returning): known is ClientRecord {
  return typeof known === 'object' && known.userId === userId
}

/**
 * What of the log is for a client. Of a room only what was sent since it is in it: what a room said before is not for who came
 * later, whatever offset it brings. Where nobody knows since when it is in a room in which something was said, not all that it
 * missed can be told, so nothing is called recovered.
 */
export function resumptionOf ({ place, recovered, missed }: Opening, who: Returning, known: Known): Resumption {
  if (!recovered || place === null || (typeof known === 'object' && !isOf(known, who))) return NOTHING
  const own: Logged[] = []
  for (const message of missed) {
    if (!concerns(message, who)) continue
    const { topic, seq } = message
    if (topic.startsWith('room:') && known !== 'before') {
      const room = topic.slice(5)
      const membership = known === 'unknown' ? null : known.rooms.get(room)
      if (membership === null || membership?.since === null) return NOTHING
      if (membership === undefined || !isSince(membership.since, place, seq)) continue
    }
    own.push(message)
  }
  return { recovered: true, missed: own }
}

/** The memberships of a client that just began: those that it had go on, others begin here. */
export function membershipsOf (who: Returning, known: Known, place: Place | null, byClient: ReadonlySet<string>): Map<string, Membership> {
  const before = isOf(known, who) ? known.rooms : new Map<string, Membership>()
  return new Map([...who.rooms].map((room) => [room, before.get(room) ?? { since: place, byClient: byClient.has(room) }]))
}

function concerns ({ topic, except }: Delivery, { clientId, userId, rooms }: Returning): boolean {
  if (except !== '' && except.split('.').includes(clientId)) return false
  if (topic === 'broadcast') return true
  return topic.startsWith('user:') ? topic.slice(5) === userId : rooms.has(topic.slice(5))
}

/** An offset of this epoch is younger than an epoch before. */
function isSince (since: Place, { epoch }: Place, seq: number): boolean {
  return since.epoch !== epoch || seq > since.seq
}
