import { randomBytes } from 'node:crypto'

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'

/** 12 random base32 characters (60 bits). */
export function randomId (): string {
  return Array.from(randomBytes(12), (byte) => ALPHABET[byte & 31]).join('')
}
