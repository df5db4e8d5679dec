import root from 'tap'
import { tcpProxy, uniqueName, waitFor, workers, type Scope, type TcpProxy, type Worker } from '../../../test/helpers/index.ts'
import { History, type Commits, type Noted, type Verdict } from './history.ts'

export interface TestClusterOptions {
  /** Connection options of redis-link. */
  redis: object
  /** @default 4 */
  count?: number
  /** @default 'config-cache' */
  design?: string
  /** Options of the cache. @default a short block TTL, so that caching begins soon */
  cache?: object
  /** Share of the writes that hand on what they wrote. @default 0.5 */
  handOn?: number
  /** What the instance is reached through. @default the calls */
  via?: 'routes'
  /** Whether messages can be lost on demand. */
  deaf?: boolean
  /** Port of Redis; each instance then has a proxy of its own before it. */
  proxied?: number
}

export const SHORT_BLOCK_MS = 1500

const workerScript = new URL('fixtures/cache-worker.js', import.meta.url)
const databaseScript = new URL('fixtures/database.js', import.meta.url)

/** Processes outlive their test, because to start one takes longer than most tests. */
const idle: Worker[] = []
const lasting: Scope = { teardown: (fn) => root.teardown(fn as () => void) }

async function freeWorker (): Promise<Worker> {
  return idle.pop() ?? (await workers(lasting, 1, workerScript))[0]!
}

/** Processes that cache one database. */
export class TestCluster {
  readonly instances: Worker[] = []
  readonly proxies: TcpProxy[] = []
  readonly database: Worker
  readonly siteId = uniqueName()
  readonly #t: Scope
  readonly #options: TestClusterOptions
  readonly #port: number
  readonly #readPorts: number[] = []
  readonly #history = new History()
  readonly errors: Record<string, number> = {}

  private constructor (t: Scope, options: TestClusterOptions, database: Worker, port: number) {
    this.#t = t
    this.#options = options
    this.database = database
    this.#port = port
  }

  static async start (t: Scope, options: TestClusterOptions): Promise<TestCluster> {
    const [database] = await workers(t, 1, databaseScript)
    const cluster = new TestCluster(t, options, database!, await database!.call<number>('start'))
    t.teardown(() => cluster.#release())
    await cluster.grow(options.count ?? 4)
    return cluster
  }

  /** Starts instances, acquainted with all, and waits until they cache. */
  async grow (count: number, { until = 'coherent', ...more }: Partial<TestClusterOptions> & { until?: string | undefined } = {}): Promise<Worker[]> {
    const fresh: Worker[] = []
    for (let i = 0; i < count; i++) fresh.push(await freeWorker())
    await Promise.all(fresh.map(async (worker) => {
      const proxy = this.#options.proxied === undefined ? undefined : await tcpProxy(this.#t, this.#options.proxied)
      if (proxy !== undefined) this.proxies[this.instances.length] = proxy
      this.instances.push(worker)
      const redis = proxy === undefined ? this.#options.redis : { url: `redis://127.0.0.1:${proxy.port}` }
      const port = await worker.call<number>('start', { design: 'config-cache', siteId: this.siteId, database: this.#port, cache: { blockTtlMs: SHORT_BLOCK_MS }, ...this.#options, ...more, redis })
      this.#readPorts[this.instances.indexOf(worker)] = port
    }))
    await this.#acquaint()
    if ((this.#options.design ?? 'config-cache') === 'config-cache' && until !== undefined) await this.caching(fresh, until)
    return fresh
  }

  /** Waits until instances are in a mode. */
  async caching (instances: Worker[] = this.instances, mode = 'coherent'): Promise<void> {
    await Promise.all(instances.map(async (worker) => {
      try {
        await waitFor(async () => await worker.call('mode') === mode, { what: `mode ${mode}`, timeoutMs: 60_000, everyMs: 30 })
      } catch (err) {
        throw new Error(`${(err as Error).message}: ${JSON.stringify(await worker.call('look'))}`)
      }
    }))
  }

  /** Forgets an instance that the test ended. */
  async lost (worker: Worker): Promise<void> {
    const index = this.instances.indexOf(worker)
    this.instances.splice(index, 1)
    this.#readPorts.splice(index, 1)
    await this.#acquaint()
  }

  async each (name: string, ...args: unknown[]): Promise<unknown[]> {
    return Promise.all(this.instances.map((worker) => worker.call(name, ...args)))
  }

  /** Collects what all noted and checks everything noted so far; `settle` then forgets it. */
  async verdict ({ settle = false } = {}): Promise<Verdict> {
    for (const noted of await this.each('history') as Noted[]) {
      this.#history.add(noted)
      for (const [code, count] of Object.entries(noted.errors)) this.errors[code] = (this.errors[code] ?? 0) + count
    }
    this.#history.commits(await this.database.call<Commits>('commits'))
    return settle ? this.#history.settle() : this.#history.check()
  }

  async hitRate (): Promise<number> {
    const stats = await this.each('stats') as Array<{ l1Hits: number, l2Hits: number, joined: number, loads: number }>
    const sum = (field: keyof typeof stats[number]) => stats.reduce((total, one) => total + one[field], 0)
    const [loads, reads] = [sum('loads'), sum('l1Hits') + sum('l2Hits') + sum('joined') + sum('loads')]
    return reads === 0 ? 0 : 1 - loads / reads
  }

  async #release (): Promise<void> {
    await Promise.all(this.instances.map(async (worker) => {
      worker.kill('SIGCONT')
      await worker.call('close')
      idle.push(worker)
    }))
  }

  async #acquaint (): Promise<void> {
    await Promise.all(this.instances.map((worker, self) => worker.call('meet', this.#readPorts.filter((_, index) => index !== self))))
  }
}
