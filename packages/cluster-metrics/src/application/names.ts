import { FST_ERR_CLUSTER_METRICS_INVALID_NAME } from '../errors.ts'

const NAME = /^[a-zA-Z_][a-zA-Z0-9_]{0,63}$/

/** Names go into Redis keys and into Prometheus' text, so they are what both take as it is. @throws FST_ERR_CLUSTER_METRICS_INVALID_NAME */
export function checkName (what: string, name: unknown): asserts name is string {
  if (typeof name !== 'string' || !NAME.test(name) || name === '__proto__') {
    throw new FST_ERR_CLUSTER_METRICS_INVALID_NAME(what, '1 to 64 letters, digits and _, and not begin with a digit')
  }
}
