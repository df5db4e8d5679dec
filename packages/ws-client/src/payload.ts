import type { Frame } from './handlers.ts'
import { ClientError } from './types.ts'
import { stringify } from './wire.ts'

/** What goes over a WebSocket: text, or where the data are bytes the JSON of the rest, a line feed, and the bytes. */
export type Payload = string | Uint8Array

const LINE_FEED = 10

/** @throws ClientError with the code INVALID_DATA: where something in it would arrive as something else, or has no form at all */
export function encode (frame: Frame): Payload {
  try {
    return frame.data instanceof Uint8Array ? join(`${stringify({ ...frame, data: undefined })}\n`, frame.data) : stringify(frame)
  } catch (err) {
    throw new ClientError('INVALID_DATA', err as string)
  }
}

/** Null where it is none. On a socket of several the number before the JSON is its `channel`; what was decoded there stays as it is. */
export function decode (payload: string | ArrayBuffer | Frame): Frame | null {
  try {
    if (payload instanceof ArrayBuffer) {
      const bytes = new Uint8Array(payload)
      const end = bytes.indexOf(LINE_FEED)
      return { ...decode(new TextDecoder().decode(bytes.subarray(0, end))), data: bytes.slice(end + 1) }
    }
    if (typeof payload !== 'string') return payload
    const begin = payload.indexOf('{')
    // What is about a namespace has no field of that name, and what is about the socket no number.
    return { channel: +payload.slice(0, begin), ...JSON.parse(payload.slice(begin)) }
  } catch {
    return null
  }
}

/** Text before a payload. */
export function join (text: string, payload: Payload): Payload {
  if (typeof payload === 'string') return text + payload
  // Spaces where the bytes go. Spread into an array they would take eight times their room, and beyond 128 MiB an error.
  const all = new TextEncoder().encode(text + ' '.repeat(payload.length))
  all.set(payload, all.length - payload.length)
  return all
}
