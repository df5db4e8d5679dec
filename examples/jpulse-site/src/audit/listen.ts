import type {} from '@jpulse/redis-sessions'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/** Each is told once, by the instance on which it happened. What `login` ends is the anonymous session before it. */
const ENDED: Record<string, string> = {
  logout: 'signed out',
  'logout-all': 'signed out everywhere',
  'logout-others': 'signed out on all other devices',
  revoked: 'signed out on one device',
  limit: 'signed out on one device: too many'
}

/** Writes down what happens to the sessions of accounts. What cannot be written is in the log of the process. */
export default fp(async (app: FastifyInstance) => {
  const { sessions, documents: { audit }, log } = app
  const add = (what: string, { userId, ip = '', userAgent = '' }: { userId: string | null, ip?: string, userAgent?: string }): void => {
    if (userId !== null) audit.add({ what, user: userId, ip, userAgent }).catch((err: unknown) => log.error({ err, what, user: userId }, 'not written to the audit log'))
  }
  sessions.on('login', (event) => add('signed in', event))
  sessions.on('expired', (event) => add('was away for too long', event))
  sessions.on('ended', (event) => { if (ENDED[event.reason] !== undefined) add(ENDED[event.reason]!, event) })
}, { name: 'site-audit', fastify: '5.x' })
