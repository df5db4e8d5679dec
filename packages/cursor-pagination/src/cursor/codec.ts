import { createCipheriv, createHmac, createSecretKey, hkdfSync, timingSafeEqual, type KeyObject } from 'node:crypto'
import type { Binary } from 'bson'
import { deserialize } from 'bson'
import { InvalidCursorError } from '../errors.ts'
import type { SortKey } from '../order/index.ts'
import type { Binding } from './binding.ts'
import { bytesOf } from './canonical.ts'
import type { Stub } from './stub.ts'

/** A place in an order, and which way to read from it. */
export interface Position {
  key: SortKey
  /** Towards the beginning of the order. */
  backwards: boolean
  /** The document at the position itself belongs to what is read. */
  inclusive: boolean
  /** The key is one of bounds, and this tells how to find the whole one. */
  stub?: Stub
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

/** The longest cursor that release 0.1 gave; a reader takes those whatever its own bound. */
const LONGEST = 8192

/**
 * Seals positions into opaque tokens and opens them.
 *
 * A token is `version | tag | ciphertext` in base64url. The tag is an HMAC-SHA256 over the version, the hash of the
 * query and the plaintext, so a token of another query does not verify; the plaintext, sort values in BSON, is encrypted
 * with AES-256-CTR under the tag's first half as its initial counter, so that a hidden sort field is not told by the
 * cursor. That is the synthetic-IV construction of RFC 5297 with HMAC in place of CMAC: it needs no nonce, and the same
 * position always has the same cursor. Both keys are derived from the secret by HKDF (RFC 5869), so the secret may serve
 * other purposes as well.
 *
 * The hash under the tag is the one that release 0.1 knows. Where it is not that of all equal filters, the plaintext
 * begins with both (`b`), so that this release takes the token beside an equal filter and the other beside the same.
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

  /** @param shorten makes of the sort values what stands for them in a cursor, given about how many bytes it may take */
  seal (position: Position, binding: Binding, shorten: (room: number) => Pick<Position, 'key' | 'stub'> = () => position): string {
    const token = this.#token(position, binding)
    if (token.length <= this.#maxLength) return token
    return this.#token({ ...position, ...shorten(this.#maxLength * 3 / 4 - 33 - 130) }, binding)
  }

  /** @throws FST_ERR_CURSOR_PAGINATION_INVALID_CURSOR */
  open (token: unknown, binding: Binding): Position {
    const bytes = this.#bytesOf(token)
    const tag = bytes.subarray(1, 1 + TAG)
    for (const keys of this.#keys) {
      const plain = crypt(keys, tag, bytes.subarray(1 + TAG))
      const claimed = bothOf(plain)
      const hashes = claimed !== undefined && binding.query.subarray(0, 16).equals(claimed.query) ? [claimed.written] : [binding.query, binding.written]
      if (hashes.some((hash) => timingSafeEqual(tag, sign(keys, hash, plain)))) return this.#read(plain)
    }
    throw new InvalidCursorError('it was not given for this query')
  }

  #token ({ key, backwards, inclusive, stub }: Position, { query, written }: Binding): string {
    const flags = (backwards ? BACKWARDS : 0) | (inclusive ? INCLUSIVE : 0)
    const plain = bytesOf({
      ...(query.equals(written) ? {} : { b: Buffer.concat([written, query.subarray(0, 16)]) }),
      k: key,
      f: flags,
      ...(stub === undefined ? {} : { s: stub }),
      ...(this.#ttlMs === undefined ? {} : { e: Date.now() + this.#ttlMs })
    })
    const [keys] = this.#keys
    const tag = sign(keys, written, plain)
    return Buffer.concat([Buffer.of(VERSION), tag, crypt(keys, tag, plain)]).toString('base64url')
  }

  #bytesOf (token: unknown): Buffer {
    if (typeof token !== 'string') throw new InvalidCursorError('it is not a text')
    if (token.length > Math.max(this.#maxLength, LONGEST)) throw new InvalidCursorError('it is too long')
    const bytes = Buffer.from(token, 'base64url')
    // Decoding skips foreign characters and spare bits: without this, many texts would stand for one token.
    if (bytes.toString('base64url') !== token) throw new InvalidCursorError('it is malformed')
    if (bytes.length <= 1 + TAG) throw new InvalidCursorError('it is too short')
    if (bytes[0] !== VERSION) throw new InvalidCursorError('it is of another version')
    return bytes
  }

  /** Reads what a verified token says; values keep their BSON types. */
  #read (plain: Buffer): Position {
    const { k, f, e, s } = deserialize(plain, { promoteValues: false, bsonRegExp: true }) as { k: unknown[], f: unknown, e?: unknown, s?: Stub & { digest: Binary } }
    if (this.#ttlMs !== undefined && !(Number(e) > Date.now())) throw new InvalidCursorError('it has expired')
    const flags = Number(f)
    const position = { key: k, backwards: (flags & BACKWARDS) !== 0, inclusive: (flags & INCLUSIVE) !== 0 }
    return s === undefined ? position : { ...position, stub: { ...s, digest: Buffer.from(s.digest.value()) } }
  }
}

/** Where both hashes stand in a plaintext that begins with them: after the length, type and name, length and subtype. */
const BOTH = { head: Buffer.from([0x05, 0x62, 0x00, 48, 0, 0, 0, 0x00]), from: 4, written: 12, query: 44, end: 60 }

/** The two hashes that a plaintext, not verified yet, says to be of. */
function bothOf (plain: Buffer): { written: Buffer, query: Buffer } | undefined {
  if (plain.length < BOTH.end || !plain.subarray(BOTH.from, BOTH.written).equals(BOTH.head)) return undefined
  return { written: plain.subarray(BOTH.written, BOTH.query), query: plain.subarray(BOTH.query, BOTH.end) }
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
