import { EXPIRING, HEARTBEAT, RENEW } from '@jpulse/ws-client/wire'

/** Why the server ended a connection. */
export const Close = Object.freeze({
  goingAway: 1001,
  unsupported: 1003,
  tooBig: 1009,
  failed: 1011,
  /** A socket of several namespaces on which none was open for a while. */
  idle: 4000,
  badFrame: 4400,
  unauthenticated: 4401,
  forbidden: 4403,
  slow: 4408,
  abuse: 4429
})

/** Types that mean something to clients; nobody else may use them. */
export const RESERVED: ReadonlySet<string> = new Set(['connected', 'offset', 'error', 'presence:join', 'presence:leave', HEARTBEAT, EXPIRING, RENEW])

/** What an error frame says. */
export type ErrorCode =
  | 'NO_REPLY' | 'REQUEST_TIMEOUT' | 'NOT_CONNECTED' | 'MESSAGE_TOO_LARGE' | 'RATE_LIMIT_EXCEEDED' | 'INVALID_MESSAGE'
  | 'UNKNOWN_TYPE' | 'SESSION_EXPIRED' | 'FORBIDDEN' | 'HANDLER_FAILED' | 'TOO_MANY_ROOMS'
  | 'AUTHORIZATION_EXPIRED' | 'RENEWAL_REFUSED' | 'ALREADY_HANDLED' | 'OUTCOME_UNKNOWN'

export const MESSAGES: Readonly<Record<ErrorCode, string>> = Object.freeze({
  NO_REPLY: 'The request was handled without an answer',
  REQUEST_TIMEOUT: 'There was no answer in time',
  NOT_CONNECTED: 'The user is not connected',
  MESSAGE_TOO_LARGE: 'The message is too large',
  RATE_LIMIT_EXCEEDED: 'Too many messages',
  INVALID_MESSAGE: 'The message is not valid',
  UNKNOWN_TYPE: 'Messages of this type are not known here',
  SESSION_EXPIRED: 'The session has ended',
  FORBIDDEN: 'This is not allowed',
  TOO_MANY_ROOMS: 'There are too many rooms',
  AUTHORIZATION_EXPIRED: 'The authorisation has ended',
  RENEWAL_REFUSED: 'The authorisation cannot be renewed with this',
  ALREADY_HANDLED: 'The message was handled before, and its answer is not kept',
  OUTCOME_UNKNOWN: 'Whether the message was handled is not known',
  HANDLER_FAILED: 'The message could not be handled'
})
