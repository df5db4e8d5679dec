// What both ends of a connection have in common.

/** Sent by the server now and then to clients that asked for it, since a page does not see pings; a client that sends it is answered with it. */
export const HEARTBEAT = 'connection:heartbeat'
/** Says that the authorisation of the connection ends soon, `data: { expiresAt }`. */
export const EXPIRING = 'connection:expiring'
/** A client renews it, with its credentials as data. */
export const RENEW = 'connection:renew'

/** As JSON.stringify. @throws TypeError where JSON would make `{}`, null or nothing of a part of it, or has no form for it */
export function stringify (frame: object): string {
  const json = JSON.stringify(frame)
  // After it, because it found out that there is no cycle.
  check(frame, '')
  return json
}

function check (value: any, at: string): void {
  const kind = typeof value
  const isObject = kind === 'object' && value
  const isOwn = isObject && typeof value.toJSON !== 'function'
  if (isObject ? ArrayBuffer.isView(value) || (isOwn && isFormless(value)) : /fun|sym/.test(kind) || (kind === 'number' && !isFinite(value))) {
    throw new TypeError(`${at.slice(1)} has no JSON form`)
  }
  if (isOwn) for (const key of Object.keys(value)) check(value[key], `${at}.${key}`)
}

/** Map, Set, Promise, RegExp, Blob and whatever else JSON takes for an empty object though it is none; an error, of which JSON loses the message. */
function isFormless (value: any): boolean {
  return value instanceof Error || (({}).toString.call(value) !== '[object Object]' && !Object.keys(value).length && JSON.stringify(value) === '{}')
}
