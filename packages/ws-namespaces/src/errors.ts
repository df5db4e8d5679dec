import { createError } from '@fastify/error'

/** An option of the plugin or of a namespace is missing, unknown or out of range; the message names it. */
export const FST_ERR_WS_NAMESPACES_INVALID_OPTION = createError<[option: string, problem: string]>(
  'FST_ERR_WS_NAMESPACES_INVALID_OPTION', 'ws-namespaces: option %s %s', 500)

/** The name of a namespace is not well-formed or reserved. */
export const FST_ERR_WS_NAMESPACES_INVALID_NAME = createError<[problem: string]>(
  'FST_ERR_WS_NAMESPACES_INVALID_NAME', 'The name of a namespace %s', 400)

/** There is a namespace of this name already, or one of another registration that matches the same names. */
export const FST_ERR_WS_NAMESPACES_EXISTS = createError<[name: string, where: string]>(
  'FST_ERR_WS_NAMESPACES_EXISTS', 'There is a namespace "%s" already%s', 500)

/** Two patterns match the same name, and neither is narrower: nobody could say who answers. */
export const FST_ERR_WS_NAMESPACES_AMBIGUOUS = createError<[name: string, other: string]>(
  'FST_ERR_WS_NAMESPACES_AMBIGUOUS', 'The namespace "%s" matches names that "%s" matches as well, and neither is narrower', 500)

/** No namespace has this name. */
export const FST_ERR_WS_NAMESPACES_NOT_FOUND = createError('FST_ERR_WS_NAMESPACES_NOT_FOUND', 'There is no such namespace', 404)

/** An argument is not what the method takes. */
export const FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT = createError<[what: string, wanted: string]>(
  'FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT', '%s must be %s', 400)

/** A connection is in as many rooms as it may be. */
export const FST_ERR_WS_NAMESPACES_TOO_MANY_ROOMS = createError<[most: number]>(
  'FST_ERR_WS_NAMESPACES_TOO_MANY_ROOMS', 'A connection may be in %s rooms at most', 429)

/** The data of a message have no JSON form. */
export const FST_ERR_WS_NAMESPACES_INVALID_DATA = createError<[problem: string]>(
  'FST_ERR_WS_NAMESPACES_INVALID_DATA', 'The data cannot be sent: %s', 400)

/** A message to clients is longer than `maxOutgoingBytes`. */
export const FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE = createError<[bytes: number, most: number]>(
  'FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE', 'The message has %s bytes, at most %s are sent', 413)

/** Nobody answers a request: the user has no connection, or it is closed. */
export const FST_ERR_WS_NAMESPACES_NOT_CONNECTED = createError(
  'NOT_CONNECTED', 'The user is not connected', 404)

/** The client did not answer a request in time. */
export const FST_ERR_WS_NAMESPACES_REQUEST_TIMEOUT = createError<[ms: number]>(
  'REQUEST_TIMEOUT', 'The client did not answer within %s ms', 504)

/** The client answered a request with an error; the message is the client's. */
export const FST_ERR_WS_NAMESPACES_REQUEST_FAILED = createError<[message: string]>(
  'FST_ERR_WS_NAMESPACES_REQUEST_FAILED', 'The client answered with an error: %s', 502)

/** Nobody is identified: there is no session, or it ended. */
export const FST_ERR_WS_NAMESPACES_UNAUTHORIZED = createError(
  'FST_ERR_WS_NAMESPACES_UNAUTHORIZED', 'Please log in', 401)

/** The caller may not use the namespace. */
export const FST_ERR_WS_NAMESPACES_FORBIDDEN = createError(
  'FST_ERR_WS_NAMESPACES_FORBIDDEN', 'You may not use this', 403)

/** The page that connects is not from an allowed origin. */
export const FST_ERR_WS_NAMESPACES_FORBIDDEN_ORIGIN = createError(
  'FST_ERR_WS_NAMESPACES_FORBIDDEN_ORIGIN', 'Pages of this origin may not connect', 403)

/** The namespace has as many connections as it may have. */
export const FST_ERR_WS_NAMESPACES_TOO_MANY_CONNECTIONS = createError(
  'FST_ERR_WS_NAMESPACES_TOO_MANY_CONNECTIONS', 'There are too many connections', 429)

/** A socket has as many namespaces as it may have. */
export const FST_ERR_WS_NAMESPACES_TOO_MANY_NAMESPACES = createError<[most: number]>(
  'FST_ERR_WS_NAMESPACES_TOO_MANY_NAMESPACES', 'A socket may have %s namespaces at most', 429)

/** A socket has the namespace already. */
export const FST_ERR_WS_NAMESPACES_ALREADY_OPEN = createError<[name: string]>(
  'FST_ERR_WS_NAMESPACES_ALREADY_OPEN', 'The namespace "%s" is open on this socket already', 409)

/** Whether a client may have a namespace of a socket was not decided in time. */
export const FST_ERR_WS_NAMESPACES_ADMISSION_TIMEOUT = createError(
  'FST_ERR_WS_NAMESPACES_ADMISSION_TIMEOUT', 'It takes too long to find out whether you may use this', 503)

/** The process ends and takes no more connections. */
export const FST_ERR_WS_NAMESPACES_DRAINING = createError(
  'FST_ERR_WS_NAMESPACES_DRAINING', 'The server is about to end', 503)

/** The path is for WebSockets. */
export const FST_ERR_WS_NAMESPACES_UPGRADE_REQUIRED = createError('FST_ERR_WS_NAMESPACES_UPGRADE_REQUIRED', 'Connect with a WebSocket', 426)
