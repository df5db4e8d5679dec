import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { site, uniqueName, waitFor, type Scope, type TestSite } from '../../../test/helpers/index.ts'
import { ALICE, SHORT_BLOCK_MS, tokenFor } from './helper.ts'
import { pinAll, type Answer, type Ask, type Pin } from './pins.ts'

export interface StoreCluster {
  site: TestSite
  address: string
  /** Connections to each worker, by its name. */
  pins: Map<string, Pin[]>
  env: Record<string, string>
  /** A process id for each worker. */
  pids (): Promise<number[]>
}

export interface StoreClusterOptions {
  workers?: number
  /** Connections to each worker. */
  each?: number
  env?: Record<string, string>
}

/** The store under PM2, and connections to each of its workers. */
export async function storeCluster (t: Scope, { workers = 4, each = 5, env: own = {} }: StoreClusterOptions = {}): Promise<StoreCluster> {
  const env = { SITE_ID: uniqueName('rerum'), PUBLIC_URL: 'http://store.test', CACHE_BLOCK_TTL_MS: String(SHORT_BLOCK_MS), ...own }
  const running = await site(t, { app: 'rerum-store', ecosystem: fileURLToPath(new URL('fixtures/ecosystem.config.cjs', import.meta.url)), workers, env })
  const pins = await pinAll(t, running.address, workers, each)
  const pids = async () => JSON.parse(await running.pm2('jlist')).map(({ pid }: { pid: number }) => pid)
  return { site: running, address: running.address, pins, env, pids }
}

const PATIENCE_MS = 60_000
const authorization = `Bearer ${tokenFor(ALICE)}`

/** A write through one worker; it must succeed, if need be after waiting for its turn, before which nothing was written. */
export async function write (pin: Pin, method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const send = () => pin.ask({ method, path: `/v1/api${path}`, ...(body !== undefined && { body }), headers: { authorization, ...headers } })
  let answer = await send()
  for (const until = Date.now() + PATIENCE_MS; answer.text.includes('FST_ERR_RERUM_BUSY') && Date.now() < until;) {
    await setTimeout(Number(answer.headers['retry-after']) * 1000)
    answer = await send()
  }
  if (answer.status > 299) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`)
  return answer
}

/** Asks until the answer comes from the cache. */
export async function warm (pin: Pin, ask: Ask): Promise<Answer> {
  return waitFor(async () => {
    const answer = await pin.ask(ask)
    return answer.headers['x-cache'] === 'HIT' && answer
  }, { timeoutMs: 60_000, everyMs: 5, what: `a hit of ${ask.path} in ${pin.worker}` })
}

export { authorization }
