import { newHandle } from '../stores/ids.ts'
import { isReserved, type Fields } from './fields.ts'

/** What the plugin itself keeps of a session, beside the fields of the application. */
export interface SessionMeta {
  /** Null for an anonymous session. */
  readonly userId: string | null
  /** Stays the same through `regenerate`. */
  readonly handle: string
  /** Of the request that made the session. */
  readonly ip: string
  /** Of the request that made the session, cut to 256 characters; '' where it sent none. */
  readonly userAgent: string
}

export interface SessionRecord {
  readonly meta: SessionMeta
  /** The fields as JSON text: what changes are found against. */
  readonly json: string
}

const USER_AGENT_LENGTH = 256

/** Who is asking, for a session that is made now. */
export function newMeta (request: { ip: string, headers: { 'user-agent'?: string | undefined } }, userId: string | null): SessionMeta {
  return { userId, handle: newHandle(), ip: request.ip, userAgent: (request.headers['user-agent'] ?? '').slice(0, USER_AGENT_LENGTH) }
}

/** Two lines of JSON: meta and fields. JSON never holds a bare line feed, so the fields are had without a second writing. */
export function encodeRecord ({ meta: { userId, handle, ip, userAgent }, json }: SessionRecord): string {
  return `${JSON.stringify([userId, handle, ip, userAgent])}\n${json}`
}

/** Null where the text is not what `encodeRecord` made. */
export function decodeRecord (text: string): (SessionRecord & { fields: Fields }) | null {
  const end = text.indexOf('\n')
  if (end === -1) return null
  const json = text.slice(end + 1)
  try {
    const [userId, handle, ip, userAgent] = JSON.parse(text.slice(0, end)) as unknown[]
    const fields: unknown = JSON.parse(json)
    if (userId !== null && typeof userId !== 'string') return null
    if (typeof handle !== 'string' || typeof ip !== 'string' || typeof userAgent !== 'string') return null
    if (typeof fields !== 'object' || fields === null || Array.isArray(fields) || Object.keys(fields).some(isReserved)) return null
    return { meta: { userId, handle, ip, userAgent }, json, fields: fields as Fields }
  } catch {
    return null
  }
}
