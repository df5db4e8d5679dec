import type { Refusal } from './machine.ts'

const page = (globalThis as { location?: { href: string } }).location
/** What a server of namespaces answers is a short JSON. */
const MOST_CHARACTERS = 4096
/** Answered to a plain request where a WebSocket would be let in. */
const UPGRADE_REQUIRED = 426

/** The address to connect to: one of a page may be relative, and may begin with http. */
export function socketUrl (url: string): URL {
  const full = new URL(url, page?.href)
  full.protocol = full.protocol.replace('http', 'ws')
  return full
}

/** Why a WebSocket did not open, asked by a plain request of the same address; null where nobody says so. */
export async function probe (url: URL, timeoutMs: number): Promise<Refusal | null> {
  const plain = new URL(url)
  plain.protocol = plain.protocol.replace('ws', 'http')
  try {
    // As a WebSocket does, which sends cookies to another origin too: without them who is logged in would be refused here.
    const response = await fetch(plain, { credentials: 'include', signal: AbortSignal.timeout(timeoutMs) })
    return response.ok || response.status === UPGRADE_REQUIRED ? null : readRefusal(response.status, await response.text())
  } catch {
    return null
  }
}

/** Only what a server of namespaces says, in the form that it says it, is final. */
export function readRefusal (httpStatus: number, body: string): Refusal {
  const { success, error, code, statusCode } = parse(body)
  const isOurs = success === false && typeof code === 'string' && statusCode === httpStatus
  return { httpStatus, reason: isOurs ? String(error) : `the server answered ${httpStatus}`, isFinal: isOurs && (httpStatus === 401 || httpStatus === 403) }
}

function parse (body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body.slice(0, MOST_CHARACTERS))
    return typeof value === 'object' && value !== null ? value as Record<string, unknown> : {}
  } catch {
    return {}
  }
}
