import { randomBytes } from 'node:crypto'

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'

/** 12 random base32 characters (60 bits). */
export function randomId (): string {
  return Array.from(randomBytes(12), (byte) => ALPHABET[byte & 31]).join('')
}

const prefix = randomId()
let count = 0

/** Never given before by any process, and cheaper than random bytes for each command. */
export function uniqueId (): string {
  return prefix + (++count).toString(36)
}
