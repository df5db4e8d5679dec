import { createError } from '@fastify/error'

/** No living instance has this boot id. */
export const FST_ERR_CLUSTER_METRICS_UNKNOWN_INSTANCE = createError('FST_ERR_CLUSTER_METRICS_UNKNOWN_INSTANCE', 'There is no such instance', 404)

/** An option is missing, unknown or out of range; the message names it. */
export const FST_ERR_CLUSTER_METRICS_INVALID_OPTION = createError<[option: string, problem: string]>(
  'FST_ERR_CLUSTER_METRICS_INVALID_OPTION', 'cluster-metrics: option %s %s', 500)

/** The name of a metric, component or check is not what the method takes. */
export const FST_ERR_CLUSTER_METRICS_INVALID_NAME = createError<[what: string, wanted: string]>(
  'FST_ERR_CLUSTER_METRICS_INVALID_NAME', '%s must be %s', 400)

/** A number, function or way to reduce is not what the method takes. */
export const FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT = createError<[what: string, wanted: string]>(
  'FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT', '%s must be %s', 400)

/** Two of one name: a gauge, component or check is registered once, and a counter and a gauge do not share a name. */
export const FST_ERR_CLUSTER_METRICS_DUPLICATE = createError<[what: string, name: string]>(
  'FST_ERR_CLUSTER_METRICS_DUPLICATE', 'There is already a %s named %s', 409)

/** More names than the bound, so that a name made of a visitor's input cannot fill the memory. */
export const FST_ERR_CLUSTER_METRICS_TOO_MANY = createError<[what: string, most: number]>(
  'FST_ERR_CLUSTER_METRICS_TOO_MANY', 'There may not be more %s than %s', 409)

/** Nobody is logged in, and `authorize` does not let everybody in. */
export const FST_ERR_CLUSTER_METRICS_UNAUTHORIZED = createError(
  'FST_ERR_CLUSTER_METRICS_UNAUTHORIZED', 'Only who is authorized may see this', 401)

/** The caller is known, and not one whom `authorize` lets in. */
export const FST_ERR_CLUSTER_METRICS_FORBIDDEN = createError(
  'FST_ERR_CLUSTER_METRICS_FORBIDDEN', 'You may not see this', 403)

/** A number of the query string is out of range. */
export const FST_ERR_CLUSTER_METRICS_INVALID_QUERY = createError<[name: string, wanted: string]>(
  'FST_ERR_CLUSTER_METRICS_INVALID_QUERY', '%s must be %s', 400)
