import { createCipheriv, createHmac, createSecretKey, hkdfSync, timingSafeEqual, type KeyObject } from 'node:crypto'
import { deserialize, serialize } from 'bson'
import { CursorTooLongError, InvalidCursorError } from '../errors.ts'
import type { SortKey } from '../order/sort-key.ts'

/** A place in an order, and which way to read from it. */
export interface Position {
  key: SortKey
  /** Towards the beginning of the order. */
  backwards: boolean
  /** The document at the position itself belongs to what is read. */
  inclusive: boolean
}

export interface CodecOptions {
  /** The first one seals, each one opens. */
  secrets: ReadonlyArray<string | Uint8Array>
  ttlMs: number | undefined
  maxLength: number
}

interface Keys {
  mac: KeyObject
  encryption: KeyObject
}

const VERSION = 1
const TAG = 32
const BACKWARDS = 1
const INCLUSIVE = 2

/**
 * Seals positions into opaque tokens and opens them.
 *
 * A token is `version | tag | ciphertext` in base64url. The tag is an HMAC-SHA256 over the version, the hash of the
 * query and the plaintext, so a token of another query does not verify; the plaintext, sort values in BSON, is encrypted
 * with AES-256-CTR under the tag's first half as its initial counter, so that a hidden sort field is not told by the
 * cursor. That is the synthetic-IV construction of RFC 5297 with HMAC in place of CMAC: it needs no nonce, and the same
 * position always has the same cursor. Both keys are derived from the secret by HKDF (RFC 5869), so the secret may serve
 * other purposes as well.
 */
export class CursorCodec {
  readonly #keys: readonly [Keys, ...Keys[]]
  readonly #ttlMs: number | undefined
  readonly #maxLength: number

  constructor ({ secrets, ttlMs, maxLength }: CodecOptions) {
    this.#keys = secrets.map(deriveKeys) as [Keys, ...Keys[]]
    this.#ttlMs = ttlMs
    this.#maxLength = maxLength
  }

  /** @throws FST_ERR_CURSOR_PAGINATION_CURSOR_TOO_LONG */
  seal ({ key, backwards, inclusive }: Position, binding: Buffer): string {
    const flags = (backwards ? BACKWARDS : 0) | (inclusive ? INCLUSIVE : 0)
    // Undefined inside a value is null in the order: left out, the cursor would stand at another place.
    const plain = Buffer.from(serialize({ k: key, f: flags, ...(this.#ttlMs === undefined ? {} : { e: Date.now() + this.#ttlMs }) }, { ignoreUndefined: false }))
    const [keys] = this.#keys
    const tag = sign(keys, binding, plain)
    const token = Buffer.concat([Buffer.of(VERSION), tag, crypt(keys, tag, plain)]).toString('base64url')
    if (token.length > this.#maxLength) throw new CursorTooLongError(token.length, this.#maxLength)
    return token
  }

  /** @throws FST_ERR_CURSOR_PAGINATION_INVALID_CURSOR */
  open (token: unknown, binding: Buffer): Position {
    const bytes = this.#bytesOf(token)
    const tag = bytes.subarray(1, 1 + TAG)
    for (const keys of this.#keys) {
      const plain = crypt(keys, tag, bytes.subarray(1 + TAG))
      if (timingSafeEqual(tag, sign(keys, binding, plain))) return this.#read(plain)
    }
    throw new InvalidCursorError('it was not given for this query')
  }

  #bytesOf (token: unknown): Buffer {
    if (typeof token !== 'string' || token === '') throw new InvalidCursorError('it is not a text')
    if (token.length > this.#maxLength) throw new InvalidCursorError('it is too long')
    const bytes = Buffer.from(token, 'base64url')
    // Decoding skips foreign characters and spare bits: without this, many texts would stand for one token.
    if (bytes.toString('base64url') !== token) throw new InvalidCursorError('it is malformed')
    if (bytes.length <= 1 + TAG) throw new InvalidCursorError('it is too short')
    if (bytes[0] !== VERSION) throw new InvalidCursorError('it is of another version')
    return bytes
  }

  /** Reads what a verified token says; values keep their BSON types. */
  #read (plain: Buffer): Position {
    const { k, f, e } = deserialize(plain, { promoteValues: false, bsonRegExp: true }) as { k: unknown[], f: unknown, e?: unknown }
    if (this.#ttlMs !== undefined && !(Number(e) > Date.now())) throw new InvalidCursorError('it has expired')
    const flags = Number(f)
    return { key: k, backwards: (flags & BACKWARDS) !== 0, inclusive: (flags & INCLUSIVE) !== 0 }
  }
}

function deriveKeys (secret: string | Uint8Array): Keys {
  const bytes = Buffer.from(hkdfSync('sha256', secret, '', '@jpulse/cursor-pagination cursor', 64))
  return { mac: createSecretKey(bytes.subarray(0, 32)), encryption: createSecretKey(bytes.subarray(32)) }
}

function sign ({ mac }: Keys, binding: Buffer, plain: Buffer): Buffer {
  return createHmac('sha256', mac).update(Buffer.of(VERSION)).update(binding).update(plain).digest()
}

/** CTR mode is its own inverse. */
function crypt ({ encryption }: Keys, tag: Buffer, text: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-ctr', encryption, tag.subarray(0, 16))
  return Buffer.concat([cipher.update(text), cipher.final()])
}
