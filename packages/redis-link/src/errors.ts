import { createError } from '@fastify/error'

/** An option is missing, unknown or out of range; the message names it. */
export const FST_ERR_REDIS_LINK_INVALID_OPTION = createError<[option: string, problem: string]>(
  'FST_ERR_REDIS_LINK_INVALID_OPTION', 'redis-link: option %s %s', 500)

/** Redis is not reachable, or refuses us; the message says why, without the password. */
export const FST_ERR_REDIS_LINK_UNAVAILABLE = createError<[reason: string]>(
  'FST_ERR_REDIS_LINK_UNAVAILABLE', 'Redis is not available: %s', 503)

/** Redis did not answer a command within `commandTimeoutMs`. Whether it was carried out is unknown. */
export const FST_ERR_REDIS_LINK_TIMEOUT = createError<[ms: number]>(
  'FST_ERR_REDIS_LINK_TIMEOUT', 'Redis did not answer within %s ms', 503)

/** Redis answers a subscription with an error, as a rule because the user may not hear the channel. The others stay. */
export const FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED = createError<[channel: string, reason: string]>(
  'FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED', 'Redis refuses the subscription to %s: %s', 500)

/** A key, lock or limit name is not a non-empty string of at most 1024 characters. */
export const FST_ERR_REDIS_LINK_INVALID_KEY = createError<[what: string]>(
  'FST_ERR_REDIS_LINK_INVALID_KEY', '%s must be a string of 1 to 1024 characters', 400)

/** A value cannot be written as JSON: undefined, a function, BigInt, a cycle, or what JSON empties, such as a Map. */
export const FST_ERR_REDIS_LINK_INVALID_VALUE = createError<[problem: string]>(
  'FST_ERR_REDIS_LINK_INVALID_VALUE', 'The value cannot be stored: %s', 400)

/** A number argument (a duration, a step, a limit) is not what the method takes. */
export const FST_ERR_REDIS_LINK_INVALID_NUMBER = createError<[what: string, wanted: string]>(
  'FST_ERR_REDIS_LINK_INVALID_NUMBER', '%s must be %s', 400)

/** There is no such event or channel to listen to, or a listener or what `using` is to run is no function. */
export const FST_ERR_REDIS_LINK_INVALID_ARGUMENT = createError<[what: string, wanted: string]>(
  'FST_ERR_REDIS_LINK_INVALID_ARGUMENT', '%s must be %s', 400)

/** `increment` met a stored value that is not an integer, or the sum would leave the range of 64 bits. */
export const FST_ERR_REDIS_LINK_NOT_A_COUNTER = createError<[key: string]>(
  'FST_ERR_REDIS_LINK_NOT_A_COUNTER', 'The value at %s is not an integer that can be incremented', 409)

/** Somebody else held a lock for as long as `using` waited. */
export const FST_ERR_REDIS_LINK_LOCK_HELD = createError<[name: string]>(
  'FST_ERR_REDIS_LINK_LOCK_HELD', 'Somebody else holds the lock %s', 409)

/** A lock was lost while the function that ran under it had not ended. Reason of its signal. */
export const FST_ERR_REDIS_LINK_LOCK_LOST = createError<[name: string]>(
  'FST_ERR_REDIS_LINK_LOCK_LOST', 'The lock %s was lost before the work under it was over', 409)
