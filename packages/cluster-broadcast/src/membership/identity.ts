import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'

/** Who a process is. */
export interface Identity {
  /** The server, for people: `025`. */
  readonly serverId: string
  /** The process on its server, for people: `025:0`. Not unique while a reload runs two processes of one number. */
  readonly instanceId: string
  /** Unique: another one at every start. */
  readonly bootId: string
}

/** 12 random characters of base32 (RFC 4648, lower case): 60 bits. */
export function randomId (): string {
  return Array.from(randomBytes(12), (byte) => ALPHABET[byte & 31]).join('')
}

/** @param given what the options name */
export function identify (given: { serverId?: string, pmId?: string }): Identity {
  const serverId = given.serverId ?? (plain(process.env.SERVER_ID ?? '') || serverOf(hostname()))
  const pmId = given.pmId ?? (plain(process.env.NODE_APP_INSTANCE ?? process.env.pm_id ?? '') || '0')
  return Object.freeze({ serverId, instanceId: `${serverId}:${pmId}`, bootId: randomId() })
}

/** `web25` → `025`; a name without trailing digits is cut to its first 12 characters. */
export function serverOf (host: string): string {
  const digits = /\d+$/.exec(host)?.[0]
  return digits?.padStart(3, '0') ?? (plain(host).slice(0, 12) || 'server')
}

/** What stands in an instance id stands in messages between spaces, and is printed. */
function plain (text: string): string {
  return text.replace(/[^A-Za-z0-9._-]/g, '-').slice(0, 64)
}
