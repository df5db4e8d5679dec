import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'

/** Characters of each half of an instance id: nobody reads a message whose sender has a longer one. */
const LONGEST = 64

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
  const named = given.serverId ?? plain(process.env.SERVER_ID ?? '')
  const place = placeOf(process.env, hostname(), ownGroups(), named)
  const serverId = place.server
  const pmId = given.pmId ?? place.process
  return Object.freeze({ serverId, instanceId: `${serverId}:${pmId}`, bootId: randomId() })
}

/**
 * Where a process runs, by what started it: PM2 numbers its workers; a pod of Kubernetes is its own server, or a process of
 * the one that is named, by the application or as NODE_NAME, which all pods of a Deployment may have in common; an instance of a
 * systemd template is named by its unit.
 *
 * @param groups text of /proc/self/cgroup
 * @param named the server's name, where the application gives one
 */
export function placeOf (env: NodeJS.ProcessEnv, host: string, groups: string, named = ''): { server: string, process: string } {
  const worker = plain(env.NODE_APP_INSTANCE || env.pm_id || '')
  if (env.KUBERNETES_SERVICE_HOST) {
    const pod = lastOf(env.POD_NAME || host)
    const server = named || plain(env.NODE_NAME ?? '') || pod
    if (server === pod) return { server, process: worker || '0' }
    return { server, process: worker === '' ? pod : lastOf(`${pod}.${worker}`) }
  }
  const unit = /@([^@/]+)\.service$/m.exec(groups)?.[1] ?? ''
  return { server: named || serverOf(host), process: worker || plain(unit) || '0' }
}

/** `web25` → `025`; the id that Docker gives a container is kept whole, and another name is cut to its first 12 characters. */
export function serverOf (host: string): string {
  if (/^[0-9a-f]{12}$/.test(host)) return host
  const digits = /\d+$/.exec(host)?.[0]
  return digits?.padStart(3, '0') ?? (plain(host).slice(0, 12) || 'server')
}

function ownGroups (): string {
  try {
    return readFileSync('/proc/self/cgroup', 'utf8')
  } catch {
    return ''
  }
}

/** What stands in an instance id stands in messages between spaces, and is printed. */
function plain (text: string): string {
  return written(text).slice(0, LONGEST)
}

/** Names of pods and of their workers differ at the end. */
function lastOf (text: string): string {
  return written(text).slice(-LONGEST)
}

const written = (text: string): string => text.replace(/[^A-Za-z0-9._-]/g, '-')
