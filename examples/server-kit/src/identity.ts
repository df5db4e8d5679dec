import { hostname } from 'node:os'
import { type Env, matching } from './env.ts'

export interface Identity {
  /**
   * Which server: SERVER_ID; else the name of the pod, or the id of the container; else the hostname's trailing digits padded to
   * three, else its first 12 characters. cluster-broadcast, which is given it, would find the same.
   */
  serverId: string
  /** Which of the server's workers, as PM2 numbers them. */
  pmId: string
  /** Both, for people: `025:0`. During a reload two processes bear the same one. */
  instanceId: string
}

export function identify (env: Env, host = hostname()): Identity {
  const serverId = matching(env, 'SERVER_ID', /^[\w.-]{1,32}$/, 'up to 32 letters, digits, dots, dashes and underscores') ??
    (env.KUBERNETES_SERVICE_HOST || /^[0-9a-f]{12}$/.test(host) ? host.slice(0, 64) : /\d+$/.exec(host)?.[0].padStart(3, '0') ?? host.slice(0, 12))
  const pmId = env.NODE_APP_INSTANCE || env.pm_id || '0'
  return Object.freeze({ serverId, pmId, instanceId: `${serverId}:${pmId}` })
}
