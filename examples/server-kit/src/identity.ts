import { hostname } from 'node:os'
import { type Env, matching } from './env.ts'

export interface Identity {
  /**
   * Which server: SERVER_ID; else in Kubernetes NODE_NAME, or the name of the pod; else the id of the container; else the hostname's
   * trailing digits padded to three, else its first 12 characters. cluster-broadcast, which is given it, would find the same.
   */
  serverId: string
  /** Which of the server's workers, as PM2 numbers them; the name of the pod where the server is a node of Kubernetes. */
  pmId: string
  /** Both, for people: `025:0`. During a reload two processes bear the same one. */
  instanceId: string
}

export function identify (env: Env, host = hostname()): Identity {
  const given = matching(env, 'SERVER_ID', /^[\w.-]{1,32}$/, 'up to 32 letters, digits, dots, dashes and underscores')
  const worker = plain(env.NODE_APP_INSTANCE || env.pm_id || '')
  const { server, process } = env.KUBERNETES_SERVICE_HOST ? inPod(env, host, worker) : { server: serverOf(host), process: worker || '0' }
  const serverId = given ?? server
  return Object.freeze({ serverId, pmId: process, instanceId: `${serverId}:${process}` })
}

/** A pod is its own server, or a process of the node that NODE_NAME names. */
function inPod (env: Env, host: string, worker: string): { server: string, process: string } {
  const pod = plain(env.POD_NAME || host)
  return env.NODE_NAME ? { server: plain(env.NODE_NAME), process: worker === '' ? pod : `${pod}.${worker}` } : { server: pod, process: worker || '0' }
}

function serverOf (host: string): string {
  if (/^[0-9a-f]{12}$/.test(host)) return host
  return /\d+$/.exec(host)?.[0].padStart(3, '0') ?? (plain(host).slice(0, 12) || 'server')
}

/** As it stands in ids. */
function plain (text: string): string {
  return text.replace(/[^A-Za-z0-9._-]/g, '-').slice(0, 64)
}
