import cluster from 'node:cluster'

/** Whether this process is one of several of its application: a worker of node:cluster, as those of PM2 are, which tells `instances`; or one of several by number. */
export function isOneOfSeveral (): boolean {
  const { instances, NODE_APP_INSTANCE } = process.env
  return (cluster.isWorker && instances !== '1') || Number(NODE_APP_INSTANCE) > 0
}
