import cluster from 'node:cluster'

/**
 * Whether this process is one of several of its application: a worker of node:cluster, as those of PM2's cluster mode are, unless PM2
 * says that it runs one (`instances`); or one of several by number. For what several have to be told.
 */
export function isOneOfSeveral ({ instances, NODE_APP_INSTANCE }: NodeJS.ProcessEnv = process.env): boolean {
  return (cluster.isWorker && instances !== '1') || Number(NODE_APP_INSTANCE) > 0 || Number(instances) > 1
}

/**
 * Whether this process can have siblings, now or later: a worker of node:cluster, or any process of PM2, which may be scaled, and of
 * which two run side by side during a reload. For what would be wrong without a word.
 */
export function mayHaveSiblings ({ NODE_APP_INSTANCE }: NodeJS.ProcessEnv = process.env): boolean {
  return cluster.isWorker || (NODE_APP_INSTANCE ?? '') !== ''
}
