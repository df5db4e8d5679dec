import type { Lifetimes } from '../stores/store.ts'
import { newHandle } from '../stores/ids.ts'
import { isReserved, type Fields } from './fields.ts'

/** What a login asked for its own session, in place of what the options say. */
export interface OwnLifetimes extends Partial<Lifetimes> {
  /** False for a cookie that the browser drops when it is closed. */
  readonly remember?: boolean
}

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
  readonly own?: OwnLifetimes
}

export interface SessionRecord {
  readonly meta: SessionMeta
  /** The fields as JSON text: what changes are found against. */
  readonly json: string
}

/** What is asked of a request; one that is passed to `decryptSession` may be any object. */
export interface Requester { ip?: string, headers?: { 'user-agent'?: string | undefined } }

const USER_AGENT_LENGTH = 256

/** Who is asking, for a session that is made now. */
export function newMeta ({ ip = '', headers }: Requester, userId: string | null, own?: OwnLifetimes): SessionMeta {
  const userAgent = (headers?.['user-agent'] ?? '').slice(0, USER_AGENT_LENGTH)
  return { userId, handle: newHandle(), ip, userAgent, ...(own === undefined ? {} : { own }) }
}

/**
 * Two lines of JSON: meta and fields. JSON never holds a bare line feed, so the fields are had without a second writing.
 * Readers of meta take what they know and ignore what follows it.
 */
export function encodeRecord ({ meta: { userId, handle, ip, userAgent, own }, json }: SessionRecord): string {
  return `${JSON.stringify(own === undefined ? [userId, handle, ip, userAgent] : [userId, handle, ip, userAgent, own])}\n${json}`
}

/** Null where the text is not what `encodeRecord` made. */
export function decodeRecord (text: string): (SessionRecord & { fields: Fields }) | null {
  const end = text.indexOf('\n')
  if (end === -1) return null
  const json = text.slice(end + 1)
  try {
    const [userId, handle, ip, userAgent, own] = JSON.parse(text.slice(0, end)) as unknown[]
    const fields: unknown = JSON.parse(json)
    if (userId !== null && typeof userId !== 'string') return null
    if (typeof handle !== 'string' || typeof ip !== 'string' || typeof userAgent !== 'string') return null
    if (typeof fields !== 'object' || fields === null || Array.isArray(fields) || Object.keys(fields).some(isReserved)) return null
    const meta = { userId, handle, ip, userAgent, ...(typeof own === 'object' && own !== null ? { own: own as OwnLifetimes } : {}) }
    return { meta, json, fields: fields as Fields }
  } catch {
    return null
  }
}

/** What is told of a session that timed out, as one line of JSON. Anonymous ones are not told of. */
export function encodeNotice ({ userId, handle, ip, userAgent }: SessionMeta): string | undefined {
  return userId === null ? undefined : JSON.stringify([userId, handle, ip, userAgent])
}

/** Null where the text is not what `encodeNotice` made. */
export function decodeNotice (text: string): SessionMeta | null {
  return decodeRecord(`${text}\n{}`)?.meta ?? null
}
