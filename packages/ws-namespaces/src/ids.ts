import { createHash } from 'node:crypto'

export const MOST_CHARACTERS = 512
const UNSAFE = /[~!*'()]/g

/** Whether a text can be the name of a namespace, a user or a room: not empty, not endless, well-formed. */
export function isName (text: unknown): text is string {
  return typeof text === 'string' && text.length > 0 && text.length <= MOST_CHARACTERS && !/\p{Surrogate}/u.test(text)
}

/** A name as one segment of a channel or key: of A-Z a-z 0-9 . _ - % only, at most 100 characters; different ones for different names. */
export function encodePart (name: string): string {
  const encoded = encodeURIComponent(name).replace(UNSAFE, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
  return encoded.length <= 100 ? encoded : `%%${createHash('sha256').update(name).digest('base64url')}`
}
