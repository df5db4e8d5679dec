import { ClientError } from './types.ts'

/** @throws ClientError with the code INVALID_DATA: where something in it would arrive as something else, or has no form at all */
export function toJson (frame: object): string {
  try {
    return JSON.stringify(frame, refuse)
  } catch (err) {
    throw new ClientError('INVALID_DATA', `the data cannot be sent: ${(err as Error).message.split('\n', 1)[0]}`)
  }
}

/** JSON makes `{}` of some, and nothing of others. */
function refuse (this: unknown, key: string, value: unknown): unknown {
  const given = (this as Record<string, unknown>)[key]
  const kind = typeof given === 'function' || typeof given === 'symbol' ? `a ${typeof given}` : formless(given)
  if (kind !== null) throw new TypeError(`${key} is ${kind}`)
  return value
}

function formless (value: unknown): string | null {
  if (value instanceof Map) return 'a Map'
  if (value instanceof Set) return 'a Set'
  return value instanceof ArrayBuffer || ArrayBuffer.isView(value) ? 'bytes' : null
}
