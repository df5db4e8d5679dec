import { ClientError } from './types.ts'

/** @throws ClientError with the code INVALID_DATA: where something in it would arrive as something else, or has no form at all */
export function toJson (frame: object): string {
  try {
    return stringify(frame)
  } catch (err) {
    throw new ClientError('INVALID_DATA', `the data cannot be sent: ${(err as Error).message.split('\n', 1)[0]}`)
  }
}

/** As JSON.stringify. @throws TypeError where JSON would make `{}` or nothing of a part of it, or has no form for it */
export function stringify (frame: object): string {
  const json = JSON.stringify(frame)
  // After it, because it found out that there is no cycle.
  check(frame, '')
  return json
}

function check (value: unknown, at: string): void {
  const kind = formless(value)
  if (kind !== null) throw new TypeError(`${at} is ${kind}`)
  if (typeof value !== 'object' || value === null || typeof (value as { toJSON?: unknown }).toJSON === 'function') return
  if (Array.isArray(value)) for (const [index, one] of value.entries()) check(one, `${at}[${index}]`)
  else for (const key of Object.keys(value)) check((value as Record<string, unknown>)[key], at === '' ? key : `${at}.${key}`)
}

function formless (value: unknown): string | null {
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`
  if (typeof value !== 'object' || value === null) return null
  if (value instanceof Map) return 'a Map'
  if (value instanceof Set) return 'a Set'
  return value instanceof ArrayBuffer || ArrayBuffer.isView(value) ? 'bytes' : null
}
