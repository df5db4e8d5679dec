import { createCipheriv, createDecipheriv, hash, randomBytes } from 'node:crypto'

const IV_BYTES = 12
const TAG_BYTES = 16
const ID_LENGTH = 8

/** Turns the text of a session into what is stored and back. */
export interface Codec {
  /** @param context which the result is bound to: the hash of the session's id */
  encode (text: string, context: string): string
  /** Null where it is not what `encode` made for this context. */
  decode (payload: string, context: string): string | null
}

/** Stores the text as it is. */
export const plainCodec: Codec = {
  encode: (text) => `P${text}`,
  decode: (payload) => payload.startsWith('P') ? payload.slice(1) : null
}

/**
 * AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce and the session as additional data, so that a value moved to
 * another key of Redis is refused. The first key encrypts, all decrypt.
 *
 * @param acceptPlain whether values from before encryption was switched on are read
 */
export function cipherCodec (keys: readonly Buffer[], acceptPlain: boolean): Codec {
  const byId = new Map(keys.map((key) => [idOf(key), key]))
  const first = keys[0]!
  const firstId = idOf(first)
  return {
    encode (text, context) {
      const iv = randomBytes(IV_BYTES)
      const cipher = createCipheriv('aes-256-gcm', first, iv).setAAD(Buffer.from(context))
      const sealed = Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
      return `E${firstId}${sealed.toString('base64')}`
    },
    decode (payload, context) {
      if (acceptPlain && payload.startsWith('P')) return payload.slice(1)
      const key = byId.get(payload.slice(1, 1 + ID_LENGTH))
      const sealed = Buffer.from(payload.slice(1 + ID_LENGTH), 'base64')
      if (!payload.startsWith('E') || key === undefined || sealed.length < IV_BYTES + TAG_BYTES) return null
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES })
          .setAAD(Buffer.from(context)).setAuthTag(sealed.subarray(-TAG_BYTES))
        return decipher.update(sealed.subarray(IV_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8')
      } catch {
        return null
      }
    }
  }
}

/** Tells the keys apart without telling anything of them. */
function idOf (key: Buffer): string {
  return hash('sha256', Buffer.concat([Buffer.from('redis-sessions key id'), key]), 'hex').slice(0, ID_LENGTH)
}
