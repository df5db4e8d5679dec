import { createError } from '@fastify/error'

/** An option is missing, unknown or out of range; the message names it. */
export const FST_ERR_CLUSTER_BROADCAST_INVALID_OPTION = createError<[option: string, problem: string]>(
  'FST_ERR_CLUSTER_BROADCAST_INVALID_OPTION', 'cluster-broadcast: option %s %s', 500)

/** The name of a channel or pattern does not follow the grammar. */
export const FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL = createError<[wanted: string]>(
  'FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL', 'The name of a channel must be %s', 400)

/** The first segment belongs to a plugin of the suite, or an internal handle was used outside its segment. */
export const FST_ERR_CLUSTER_BROADCAST_RESERVED_CHANNEL = createError<[problem: string]>(
  'FST_ERR_CLUSTER_BROADCAST_RESERVED_CHANNEL', 'The channel is reserved: %s', 403)

/** The data have no JSON form: a function, a symbol, BigInt, a cycle, or what JSON empties, such as a Map. */
export const FST_ERR_CLUSTER_BROADCAST_INVALID_DATA = createError<[problem: string]>(
  'FST_ERR_CLUSTER_BROADCAST_INVALID_DATA', 'The data cannot be sent: %s', 400)

/** The data are longer than `maxMessageBytes`. */
export const FST_ERR_CLUSTER_BROADCAST_MESSAGE_TOO_LARGE = createError<[bytes: number, limit: number]>(
  'FST_ERR_CLUSTER_BROADCAST_MESSAGE_TOO_LARGE', 'The data are %s bytes of JSON, more than the %s that are allowed', 413)

/** A handler, a duration or a name is not what the method takes. */
export const FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT = createError<[what: string, wanted: string]>(
  'FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT', '%s must be %s', 400)

/** Nobody is logged in who may use a route. */
export const FST_ERR_CLUSTER_BROADCAST_UNAUTHORIZED = createError('FST_ERR_CLUSTER_BROADCAST_UNAUTHORIZED', 'Log in to use this', 401)

/** Who is logged in may not use the route. */
export const FST_ERR_CLUSTER_BROADCAST_FORBIDDEN = createError('FST_ERR_CLUSTER_BROADCAST_FORBIDDEN', 'You may not use this', 403)
