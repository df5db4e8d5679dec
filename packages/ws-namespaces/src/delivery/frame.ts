import { stringify } from '@jpulse/ws-client/wire'
import { RESERVED } from '../codes.ts'
import { FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT, FST_ERR_WS_NAMESPACES_INVALID_DATA, FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE } from '../errors.ts'

const TEXT = 0x81
const BINARY = 0x82
const LINE_FEED = 0x0a

/** A message to clients, or one of theirs: its JSON, and the bytes where the data are bytes. */
export interface Envelope {
  readonly json: string
  readonly bytes: Uint8Array | null
}

/**
 * A message to clients, encoded once for all sockets: once for those of one namespace, and once with its channel for those of several.
 * Measured (benchmarks/ws-namespaces): a good half of the CPU per delivery of a naive loop.
 */
export class Frame {
  readonly #json: string
  readonly #bytes: Uint8Array | null
  #single: Buffer | null = null
  #shared: { readonly channel: number, readonly frame: Buffer } | null = null

  constructor (json: string, bytes: Uint8Array | null = null) {
    this.#json = json
    this.#bytes = bytes
  }

  /** About its length in bytes. */
  get size (): number {
    return this.#json.length + (this.#bytes?.length ?? 0)
  }

  /** For a socket of one namespace. */
  get single (): Buffer {
    this.#single ??= encode(this.#json, this.#bytes)
    return this.#single
  }

  /** For a socket of several, on which a namespace has the same channel as on all others of this process. */
  on (channel: number): Buffer {
    if (this.#shared?.channel !== channel) this.#shared = { channel, frame: encode(`${channel}${this.#json}`, this.#bytes) }
    return this.#shared.frame
  }
}

/** One unmasked frame, header and body in one Buffer. Bytes follow on a line feed, which JSON does not hold. */
function encode (text: string, bytes: Uint8Array | null): Buffer {
  const characters = Buffer.byteLength(text)
  const length = characters + (bytes === null ? 0 : 1 + bytes.length)
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const frame = Buffer.allocUnsafe(head + length)
  frame[0] = bytes === null ? TEXT : BINARY
  if (head === 2) frame[1] = length
  else if (head === 4) {
    frame[1] = 126
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = 127
    frame.writeBigUInt64BE(BigInt(length), 2)
  }
  frame.write(text, head)
  if (bytes !== null) {
    frame[head + characters] = LINE_FEED
    frame.set(bytes, head + characters + 1)
  }
  return frame
}

/** The body of a frame of ours, and whether it is binary: for a socket that compresses. */
export function bodyOf (frame: Buffer): { body: Buffer, binary: boolean } {
  const length = frame[1]!
  return { body: frame.subarray(length < 126 ? 2 : length === 126 ? 4 : 10), binary: frame[0] === BINARY }
}

/** Where the JSON of a binary message ends and its bytes begin; -1 where it is none. */
export function endOfJson (message: Buffer): number {
  return message.indexOf(LINE_FEED)
}

/** A message to clients. `rest` are further fields. @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT, _INVALID_DATA */
export function envelope (type: string, data: unknown, rest?: object): Envelope {
  if (typeof type !== 'string' || type === '' || RESERVED.has(type)) {
    throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT('type', 'a text that is not empty nor one of the protocol')
  }
  try {
    // A copy: the caller may fill its buffer anew before the message leaves.
    if (data instanceof Uint8Array) return { json: stringify({ type, ...rest }), bytes: Uint8Array.from(data) }
    return { json: stringify({ type, data, ...rest }), bytes: null }
  } catch (err) {
    throw new FST_ERR_WS_NAMESPACES_INVALID_DATA((err as Error).message.split('\n', 1)[0]!)
  }
}

/** @throws FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE */
export function measure ({ json, bytes }: Envelope, most: number): void {
  const beside = bytes?.length ?? 0
  // One character of UTF-16 makes 3 bytes of UTF-8 at most.
  if (json.length * 3 + beside <= most) return
  const size = Buffer.byteLength(json) + beside
  if (size > most) throw new FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE(size, most)
}

/** Adds an offset to the JSON of an object that is not empty. */
export function withOffset (json: string, offset: string): string {
  return `${json.slice(0, -1)},"offset":"${offset}"}`
}
