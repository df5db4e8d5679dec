import cluster from 'node:cluster'

/**
 * Whether this process has no siblings that could write what it caches: neither a worker of node:cluster nor one of several
 * under PM2, which sets NODE_APP_INSTANCE in cluster mode.
 */
export function isAlone (env: NodeJS.ProcessEnv = process.env): boolean {
  return !cluster.isWorker && env.NODE_APP_INSTANCE === undefined
}
