import { channel } from 'node:diagnostics_channel'
import { EventEmitter } from 'node:events'
import { emitSafely } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'

/** Why sessions ended before they timed out; `aborted`: it was made for a request whose client never got its cookie. */
export type EndReason = 'login' | 'logout' | 'logout-all' | 'logout-others' | 'revoked' | 'destroy' | 'limit' | 'aborted'

/** Sessions of one user that ended. */
export interface EndedSessions {
  userId: string
  /** Those that were known. After `logout-all` and `logout-others` there may have been more: all of the user's but `except` ended. */
  handles: string[]
  reason: EndReason
  /** The one session that goes on, after `logout-others`. */
  except?: string
  /** `name` of the registration, where it has one. */
  realm?: string
}

/** What is told of one session, fit for an audit log: a handle, never an id. */
export interface SessionEvent {
  /** Null for an anonymous session. */
  userId: string | null
  handle: string
  ip: string
  userAgent: string
}

/** A session of a user that timed out, by its idle or its absolute timeout. */
export interface ExpiredSessionEvent extends SessionEvent {
  userId: string
  /** When it did, in milliseconds since 1970. */
  expiredAt: number
}

/** Why a request with a session's cookie has no session. */
export interface RefusedSession {
  /** `signature`: not signed with a secret of ours; `unknown`: ended, expired, or never was; `unreadable`: another instance can read it. */
  reason: 'signature' | 'unknown' | 'unreadable'
  ip: string
  userAgent: string
}

/** What happens to sessions through this process. */
export interface SessionsEvents {
  /** An anonymous session was stored for the first time. */
  created: [SessionEvent]
  /** A user logged in. */
  login: [SessionEvent]
  /** A request came with a token that is no session. */
  refused: [RefusedSession]
  /** A session was noted as seen, which moves its idle timeout. */
  renewed: [SessionEvent]
  /** A user's session timed out. Told once, by the instance that finds it: at the next request with its cookie, or the next login of its user. */
  expired: [ExpiredSessionEvent]
  /** Sessions ended by a call in this process. */
  ended: [EndedSessions]
}

/** What is used of `fastify.appCluster` where the application registered @jpulse/cluster-broadcast. */
interface AppCluster {
  internal (prefix: 'session'): { publish (channel: string, data: Omit<EndedSessions, 'reason'>): Promise<unknown> }
}

/** So many handles fit into one message. */
const SLICE = 5000

const endedChannel = channel('jpulse:redis-sessions:ended')

/** What is told of a stored session. */
export function eventOf ({ meta: { userId, handle, ip, userAgent } }: { readonly meta: SessionEvent }): SessionEvent {
  return { userId, handle, ip, userAgent }
}

/** Tells the application of its sessions, and every plugin on every instance of their end. Nobody's fault keeps it from the others. */
export class Events {
  /** What the application listens to. */
  emitter: EventEmitter = new EventEmitter()
  readonly #fastify: FastifyInstance
  readonly #realm: string
  readonly #log: FastifyBaseLogger

  constructor (fastify: FastifyInstance, realm: string, log: FastifyBaseLogger) {
    this.#fastify = fastify
    this.#realm = realm
    this.#log = log
  }

  emit<Name extends keyof SessionsEvents> (name: Name, ...args: SessionsEvents[Name]): void {
    emitSafely(this.emitter, (err) => this.#log.error({ err }, `a listener of the event ${name} failed`), name, ...args)
  }

  hasListener (name: keyof SessionsEvents): boolean {
    return this.emitter.listenerCount(name) > 0
  }

  /** Never rejects: the sessions are dead already, and whoever missed the message is refused at the next look. */
  async ended (sessions: EndedSessions): Promise<void> {
    const ended = this.#realm === '' ? sessions : { ...sessions, realm: this.#realm }
    endedChannel.publish(ended)
    this.emit('ended', ended)
    // Without handles the message still says that all of the user's sessions ended.
    for (let first = 0; first === 0 || first < ended.handles.length; first += SLICE) {
      if (!await this.#publish('session:ended', { ...ended, handles: ended.handles.slice(first, first + SLICE) })) return
    }
  }

  /** A user's session got another id: connections that came with the old one are to look whether theirs is alive. Never rejects. */
  async moved (userId: string, handle: string): Promise<void> {
    await this.#publish('session:moved', { userId, handles: [handle], ...(this.#realm !== '' && { realm: this.#realm }) })
  }

  async #publish (channel: string, data: Omit<EndedSessions, 'reason'>): Promise<boolean> {
    const { appCluster } = this.#fastify as { appCluster?: AppCluster }
    if (appCluster === undefined) return false
    try {
      await appCluster.internal('session').publish(channel, data)
      return true
    } catch (err) {
      this.#log.error({ err }, 'the end of sessions could not be broadcast')
      return false
    }
  }
}
