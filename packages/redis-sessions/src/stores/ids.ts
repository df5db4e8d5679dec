import { hash, randomBytes } from 'node:crypto'

/** Where a session lives, as the stores know it. The id itself stays in the cookie. */
export interface SessionRef {
  /** SHA-256 of the id, base64url. */
  readonly hash: string
  /** Groups the sessions of one user; an anonymous session is a group of its own. */
  readonly tag: string
  /** Whether `login` made it, so that it is in the index of its user. */
  readonly owned: boolean
}

const SECRET_BYTES = 24
const SECRET = /^[\w-]{32}$/
const TAG_LENGTH = 22
const OWNED = /^[\w-]{54}$/

/** The group of a user of a realm: 132 bits of the SHA-256 of the id, so that any user id makes a key. */
export function tagOf (userId: string, realm = ''): string {
  return hash('sha256', realm === '' ? userId : JSON.stringify([realm, userId]), 'base64url').slice(0, TAG_LENGTH)
}

/**
 * A new session id: 192 random bits, and for a logged-in session the tag of its user. With the tag in the id, a session,
 * its user's index and its user's watermark share a slot of Redis Cluster, and one command reads all that a request needs.
 */
export function newId (tag = ''): string {
  return randomBytes(SECRET_BYTES).toString('base64url') + tag
}

/** Null where the text is no session id of ours. */
export function refOf (id: string): SessionRef | null {
  if (OWNED.test(id)) return { hash: digest(id), tag: id.slice(-TAG_LENGTH), owned: true }
  if (!SECRET.test(id)) return null
  const own = digest(id)
  return { hash: own, tag: own, owned: false }
}

/** Name of a session that outlives `regenerate` and is told to people and to other plugins. */
export function newHandle (): string {
  return randomBytes(12).toString('base64url')
}

function digest (id: string): string {
  return hash('sha256', id, 'base64url')
}
