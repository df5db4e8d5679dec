import { createHash } from 'node:crypto'
import { FST_ERR_WS_NAMESPACES_INVALID_NAME } from '../errors.ts'

const LITERAL = /^[A-Za-z0-9._-]{1,100}$/
const PARAMETER = /^:[A-Za-z_][A-Za-z0-9_]{0,50}$/
const MOST_CHARACTERS = 512
const UNSAFE = /[~!*'()]/g

/** What the parameters of a pattern stand for, decoded. */
export type Params = Readonly<Record<string, string>>

/** The name of a namespace as it is created: `chat`, or with parameters, `rooms/:id`. */
export class NamePattern {
  readonly pattern: string
  readonly isDynamic: boolean
  readonly #segments: string[]

  /** @throws FST_ERR_WS_NAMESPACES_INVALID_NAME */
  constructor (pattern: unknown) {
    if (typeof pattern !== 'string') throw new FST_ERR_WS_NAMESPACES_INVALID_NAME('must be a string')
    this.pattern = pattern
    this.#segments = pattern.split('/')
    if (!this.#segments.every((segment) => LITERAL.test(segment) || PARAMETER.test(segment))) {
      throw new FST_ERR_WS_NAMESPACES_INVALID_NAME('must be segments joined with "/", each of A-Z a-z 0-9 . _ - or a parameter ":id"')
    }
    if (pattern.length > MOST_CHARACTERS) throw new FST_ERR_WS_NAMESPACES_INVALID_NAME(`may have ${MOST_CHARACTERS} characters at most`)
    if (pattern === 'stats') throw new FST_ERR_WS_NAMESPACES_INVALID_NAME('must not be "stats", which is a route')
    if (this.#segments[0]!.startsWith(':')) throw new FST_ERR_WS_NAMESPACES_INVALID_NAME('must not begin with a parameter')
    this.isDynamic = this.#segments.some((segment) => segment.startsWith(':'))
  }

  /** The parameters where the decoded segments of a path fit; null where they do not. */
  match (segments: readonly string[]): Params | null {
    if (segments.length !== this.#segments.length) return null
    const params: Record<string, string> = Object.create(null)
    for (const [index, wanted] of this.#segments.entries()) {
      const given = segments[index]!
      if (!wanted.startsWith(':')) {
        if (wanted !== given) return null
      } else if (given === '') return null
      else params[wanted.slice(1)] = given
    }
    return params
  }

  /** As `match`, for a name in one string. An id may hold a slash where it is the last segment. */
  matchName (name: string): Params | null {
    const parts = name.split('/')
    const last = this.#segments.length - 1
    return this.match(parts.length <= last ? parts : [...parts.slice(0, last), parts.slice(last).join('/')])
  }
}

/** Whether a text can be the name of a namespace, a user or a room: not empty, not endless, well-formed. */
export function isName (text: unknown): text is string {
  return typeof text === 'string' && text.length > 0 && text.length <= MOST_CHARACTERS && !/\p{Surrogate}/u.test(text)
}

/** The decoded segments of a path, null where it cannot be decoded or is no name. */
export function decodePath (path: string): string[] | null {
  try {
    const segments = path.split('/').map(decodeURIComponent)
    return isName(segments.join('/')) ? segments : null
  } catch {
    return null
  }
}

/** A name as one segment of a channel or key: of A-Z a-z 0-9 . _ - % only, at most 100 characters; different ones for different names. */
export function encodePart (name: string): string {
  const encoded = encodeURIComponent(name).replace(UNSAFE, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
  return encoded.length <= 100 ? encoded : `%%${createHash('sha256').update(name).digest('base64url')}`
}
