import { decode } from './payload.ts'
import type { Refusal } from './machine.ts'
import { ClientError } from './types.ts'

const page = (globalThis as { location?: { href: string } }).location
/** Answered to a plain request where a WebSocket would be let in. */
const UPGRADE_REQUIRED = 426

/** The address to connect to: one of a page may be relative, and may begin with http. @throws ClientError with the code INVALID_ADDRESS */
export function socketUrl (url: string): URL {
  let full
  try {
    full = new URL(url, page?.href)
  } catch {
    throw new ClientError('INVALID_ADDRESS', `begin with ws://: ${url}`)
  }
  full.protocol = full.protocol.replace('http', 'ws')
  return full
}

/** Why a WebSocket did not open, asked by a plain request of the same address, which is the caller's no more; null where nobody says so. */
export async function probe (url: URL, timeoutMs: number, token: string | null | undefined): Promise<Refusal | null> {
  url.protocol = url.protocol.replace('ws', 'http')
  try {
    // As a WebSocket does, which sends cookies to another origin too: without them who is logged in would be refused here.
    const response = await fetch(url, { credentials: 'include', signal: AbortSignal.timeout(timeoutMs), ...(token && { headers: { authorization: `Bearer ${token}` } }) })
    return response.ok || response.status === UPGRADE_REQUIRED ? null : readRefusal(response.status, await response.text())
  } catch {
    return null
  }
}

/** Only what a server of namespaces says, in the form that it says it, has a code: 4000 and the HTTP status, as a close would have. */
export function readRefusal (httpStatus: number, body: string): Refusal {
  const { success, error, code, statusCode } = decode(body) as Record<string, unknown> | null ?? {}
  const isOurs = success === false && typeof code === 'string' && statusCode === httpStatus
  return { httpStatus, reason: isOurs ? error as string : `the server answered ${httpStatus}`, code: isOurs ? 4000 + httpStatus : 0 }
}
