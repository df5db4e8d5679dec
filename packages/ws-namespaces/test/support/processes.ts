import type { Test } from 'tap'
import { uniqueName, waitFor, workers, type Worker } from '../../../../test/helpers/index.ts'

const SCRIPT = new URL('../fixtures/worker.js', import.meta.url)

export interface Server extends Worker {
  readonly port: number
  readonly bootId: string
  readonly instanceId: string
}

export interface StartOptions {
  siteId?: string
  namespaces: Record<string, object>
  options?: object
  cluster?: object
  link?: object
  /** Instance numbers. */
  first?: number
  /** Members that all have to see. */
  expected?: number
}

/** Processes of one site with the same namespaces, each member of one cluster. */
export async function servers (t: Test, url: string, count: number, { siteId = uniqueName('ws'), namespaces, options = {}, cluster = {}, link = {}, first = 0, expected = count }: StartOptions): Promise<Server[]> {
  const started = await workers(t, count, SCRIPT, {
    env: (index) => ({
      LINK: JSON.stringify({ url, siteId, env: 'test', commandTimeoutMs: 5000, connectTimeoutMs: 20_000, ...link }),
      CLUSTER: JSON.stringify(cluster),
      OPTIONS: JSON.stringify(options),
      NAMESPACES: JSON.stringify(namespaces),
      SERVER_ID: 'test',
      NODE_APP_INSTANCE: `${first + index}`
    })
  })
  const all = await Promise.all(started.map(async (worker): Promise<Server> => Object.assign(worker, await worker.call<{ port: number, bootId: string, instanceId: string }>('info'))))
  await Promise.all(all.map((one) => waitFor(async () => await one.call<number>('members') >= expected && await one.call('mode') === 'cluster',
    { what: 'all to be members', timeoutMs: 60_000, everyMs: 50 })))
  return all
}
