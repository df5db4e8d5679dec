import { decode } from './payload.ts'
import type { Refusal } from './machine.ts'
import { ClientError } from './types.ts'

/** Answered to a plain request where a WebSocket would be let in. */
const UPGRADE_REQUIRED = 426
/** Longest that a `Retry-After` is kept, in seconds: a client that stays away for a day would seem to be broken. */
const LONGEST_HOLD_S = 600

/** The address to connect to: one of a page may be relative, and may begin with http. @throws ClientError with the code INVALID_ADDRESS */
export function socketUrl (url: string): URL {
  try {
    const full = new URL(url, (globalThis as { location?: { href: string } }).location?.href)
    full.protocol = full.protocol.replace('http', 'ws')
    // `s:-` is SHARED. `localhost:3000` is a URL, of the scheme `localhost`.
    if (/^(wss?:|s:-)/.test(full.href)) return full
  } catch {}
  throw new ClientError('INVALID_ADDRESS', `begin with ws://: ${url}`)
}

/** Why a WebSocket did not open, asked by a plain request of the same address; null where nobody says so. */
export async function probe (url: string, timeoutMs: number, token: string | null | undefined): Promise<Refusal | null> {
  try {
    // As a WebSocket does, which sends cookies to another origin too: without them who is logged in would be refused here.
    const response = await fetch(url.replace('ws', 'http'), { credentials: 'include', signal: AbortSignal.timeout(timeoutMs), ...(token && { headers: { authorization: `Bearer ${token}` } }) })
    return response.ok || response.status === UPGRADE_REQUIRED ? null : readRefusal(response.status, await response.text(), response.headers.get('retry-after'))
  } catch {
    return null
  }
}

/**
 * Only what a server of namespaces says, in the form that it says it, has a code: 4000 and the HTTP status, as a close would have.
 *
 * @param retryAfter the header of this name; one that is a date is passed over
 */
export function readRefusal (httpStatus: number, body: string, retryAfter?: any): Refusal {
  const { success, error, code, statusCode } = decode(body) as Record<string, unknown> | null ?? {}
  const isOurs = success === false && typeof code === 'string' && statusCode === httpStatus
  return { httpStatus, reason: isOurs ? error as string : `the server answered ${httpStatus}`, code: isOurs ? 4000 + httpStatus : 0, holdMs: Math.min(retryAfter, LONGEST_HOLD_S) * 1000 }
}
