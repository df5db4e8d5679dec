import type { Delivery, Logged, Opening, Place } from '../delivery/carrier.ts'
import type { ClientRecord, Membership } from './records.ts'

/** What a client that comes back gets of what it missed. */
export interface Resumption {
  /** Whether `missed` is all of it. */
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
export function isOf (record: ClientRecord | null, { userId }: Returning): record is ClientRecord {
  return record !== null && record.userId === userId
}

/**
 * What of the log is for a client. Of a room only what was sent since it is in it: what a room said before is not for who came
 * later, whatever offset it brings. Without a record, which is so for an invented client id and for a client that the release
 * before served, nothing of rooms: then a message to any room means that not all is recovered.
 */
export function resumptionOf ({ place, recovered, missed }: Opening, who: Returning, record: ClientRecord | null): Resumption {
  if (!recovered || place === null || (record !== null && !isOf(record, who))) return NOTHING
  const own: Logged[] = []
  let isAll = true
  for (const message of missed) {
    if (isExcepted(message, who)) continue
    const { topic, seq } = message
    if (!topic.startsWith('room:')) {
      if (topic === 'broadcast' || topic.slice(5) === who.userId) own.push(message)
      continue
    }
    const room = topic.slice(5)
    const membership = record?.rooms.get(room)
    if (record === null || (who.rooms.has(room) && membership?.since === null)) isAll = false
    else if (who.rooms.has(room) && membership?.since != null && isSince(membership.since, place, seq)) own.push(message)
  }
  return { recovered: isAll, missed: own }
}

/** The memberships of a client that just began: those that it had go on, others begin here. */
export function membershipsOf (who: Returning, record: ClientRecord | null, place: Place | null, byClient: ReadonlySet<string>): Map<string, Membership> {
  const before = isOf(record, who) ? record.rooms : new Map<string, Membership>()
  return new Map([...who.rooms].map((room) => [room, before.get(room) ?? { since: place, byClient: byClient.has(room) }]))
}

function isExcepted ({ except }: Delivery, { clientId }: Returning): boolean {
  return except !== '' && except.split('.').includes(clientId)
}

/** An offset of this epoch is younger than an epoch before. */
function isSince (since: Place, { epoch }: Place, seq: number): boolean {
  return since.epoch !== epoch || seq > since.seq
}
