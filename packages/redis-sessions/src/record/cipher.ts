import { createCipheriv, createDecipheriv, hash, randomBytes } from 'node:crypto'
import type { ResolvedOptions } from '../options.ts'

const IV_BYTES = 12
const TAG_BYTES = 16
const ID_LENGTH = 8

/**
 * What became of a payload: its text, or why there is none. `foreign` is what another configuration or release can read
 * (an unknown key, an unknown kind), and so is not absent; `damaged` is what nobody can.
 */
type Decoded = { readonly text: string } | 'foreign' | 'damaged'

/** Turns the text of a session into what is stored and back. The first letter of a payload says its kind. */
export interface Codec {
  /** @param context which the result is bound to: the hash of the session's id */
  encode (text: string, context: string): string
  decode (payload: string, context: string): Decoded
}

/** Stores the text as it is: `P<text>`. */
const plainCodec: Codec = {
  encode: (text) => `P${text}`,
  decode (payload) {
    if (payload.startsWith('P')) return { text: payload.slice(1) }
    return payload === '' ? 'damaged' : 'foreign'
  }
}

/**
 * AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce and the session as additional data, so that a value moved to
 * another key of Redis is refused: `E<id of the key><base64>`. The first key encrypts, all decrypt.
 */
export function codecOf (encryption: ResolvedOptions['encryption']): Codec {
  if (encryption === undefined) return plainCodec
  const { keys, acceptPlain, writePlain } = encryption
  const byId = new Map(keys.map((key) => [idOf(key), key]))
  const first = keys[0]!
  const firstId = idOf(first)
  return {
    encode (text, context) {
      if (writePlain) return plainCodec.encode(text, context)
      const iv = randomBytes(IV_BYTES)
      const cipher = createCipheriv('aes-256-gcm', first, iv).setAAD(Buffer.from(context))
      const sealed = Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
      return `E${firstId}${sealed.toString('base64')}`
    },
    decode (payload, context) {
      if (!payload.startsWith('E')) return acceptPlain || !payload.startsWith('P') ? plainCodec.decode(payload, context) : 'foreign'
      const key = byId.get(payload.slice(1, 1 + ID_LENGTH))
      if (key === undefined) return 'foreign'
      const sealed = Buffer.from(payload.slice(1 + ID_LENGTH), 'base64')
      if (sealed.length < IV_BYTES + TAG_BYTES) return 'damaged'
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES })
          .setAAD(Buffer.from(context)).setAuthTag(sealed.subarray(-TAG_BYTES))
        return { text: decipher.update(sealed.subarray(IV_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8') }
      } catch {
        return 'damaged'
      }
    }
  }
}

/** Tells the keys apart without telling anything of them. */
function idOf (key: Buffer): string {
  return hash('sha256', Buffer.concat([Buffer.from('redis-sessions key id'), key]), 'hex').slice(0, ID_LENGTH)
}
