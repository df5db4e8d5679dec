import { hostname } from 'node:os'
import { type Env, matching } from './env.ts'

export interface Identity {
  /**
   * Which server: SERVER_ID; else in Kubernetes NODE_NAME, or the name of the pod; else the id of the container; else the hostname's
   * trailing digits padded to three, else its first 12 characters. cluster-broadcast, which is given it, would find the same.
   */
  serverId: string
  /** Which of the server's workers, as PM2 numbers them; the name of the pod where the server is not the pod itself. */
  pmId: string
  /** Both, for people: `025:0`. During a reload two processes bear the same one. */
  instanceId: string
}

export function identify (env: Env, host = hostname()): Identity {
  const named = matching(env, 'SERVER_ID', /^[\w.-]{1,32}$/, 'up to 32 letters, digits, dots, dashes and underscores') ?? ''
  const worker = plain(env.NODE_APP_INSTANCE || env.pm_id || '')
  const { server, process } = env.KUBERNETES_SERVICE_HOST ? inPod(env, host, worker, named) : { server: named || serverOf(host), process: worker || '0' }
  return Object.freeze({ serverId: server, pmId: process, instanceId: `${server}:${process}` })
}

/** A pod is its own server, or a process of the one that SERVER_ID or NODE_NAME names. */
function inPod (env: Env, host: string, worker: string, named: string): { server: string, process: string } {
  const pod = lastOf(env.POD_NAME || host)
  const server = named || plain(env.NODE_NAME ?? '') || pod
  if (server === pod) return { server, process: worker || '0' }
  return { server, process: worker === '' ? pod : lastOf(`${pod}.${worker}`) }
}

function serverOf (host: string): string {
  if (/^[0-9a-f]{12}$/.test(host)) return host
  return /\d+$/.exec(host)?.[0].padStart(3, '0') ?? (plain(host).slice(0, 12) || 'server')
}

/** As it stands in ids, of which each half has at most 64 characters. */
function plain (text: string): string {
  return written(text).slice(0, 64)
}

/** Names of pods and of their workers differ at the end. */
function lastOf (text: string): string {
  return written(text).slice(-64)
}

const written = (text: string): string => text.replace(/[^A-Za-z0-9._-]/g, '-')
