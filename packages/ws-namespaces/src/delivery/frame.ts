import { stringify } from '@jpulse/ws-client/wire'
import { RESERVED } from '../codes.ts'
import { FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT, FST_ERR_WS_NAMESPACES_INVALID_DATA } from '../errors.ts'

const FINAL_TEXT = 0x81

/**
 * The bytes of one unmasked text frame, header and body in one Buffer, so that a message is encoded once for all who get it.
 * Measured (benchmarks/ws-namespaces): a good half of the CPU per delivery of a naive loop.
 */
export function textFrame (text: string): Buffer {
  const length = Buffer.byteLength(text)
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const frame = Buffer.allocUnsafe(head + length)
  frame[0] = FINAL_TEXT
  if (head === 2) frame[1] = length
  else if (head === 4) {
    frame[1] = 126
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = 127
    frame.writeBigUInt64BE(BigInt(length), 2)
  }
  frame.write(text, head)
  return frame
}

/** JSON of a message to clients. `rest` are further fields. @throws FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT, _INVALID_DATA */
export function envelope (type: string, data: unknown, rest?: object): string {
  if (typeof type !== 'string' || type === '' || RESERVED.has(type)) {
    throw new FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT('type', 'a text that is not empty nor one of the protocol')
  }
  try {
    return stringify({ type, data, ...rest })
  } catch (err) {
    throw new FST_ERR_WS_NAMESPACES_INVALID_DATA((err as Error).message.split('\n', 1)[0]!)
  }
}

/** Adds an offset to the JSON of an object that is not empty. */
export function withOffset (json: string, offset: string): string {
  return `${json.slice(0, -1)},"offset":"${offset}"}`
}
