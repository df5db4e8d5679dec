// What both ends of a connection have in common.

/** Sent by the server now and then to clients that asked for it, since a page does not see pings; a client that sends it is answered with it. */
export const HEARTBEAT = 'connection:heartbeat'

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
