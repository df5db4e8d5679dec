import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { waitFor, workers, type Scope, type TestRedis, type Worker } from '../helpers/index.ts'

export interface Instance {
  readonly release: string
  readonly worker: Worker
  readonly port: number
}

/** Instances of one application on one Redis, each on a release of its own, behind a balancer of connections. */
export class Fleet {
  readonly instances: Instance[] = []
  readonly #t: Scope
  readonly #env: Record<string, string>
  #balancer!: Awaited<ReturnType<typeof balance>>

  private constructor (t: Scope, redis: TestRedis, siteId: string) {
    this.#t = t
    this.#env = { URL: redis.url, SITE: siteId, DATABASE: `redis://127.0.0.1:${redis.port}` }
  }

  static async start (t: Scope, redis: TestRedis, siteId: string, releases: readonly string[]): Promise<Fleet> {
    const fleet = new Fleet(t, redis, siteId)
    fleet.#balancer = await balance(t, () => fleet.instances.map(({ port }) => port))
    fleet.instances.push(...await Promise.all(releases.map((release) => fleet.#boot(release))))
    return fleet
  }

  /** Address of the balancer. */
  get port (): number {
    return this.#balancer.port
  }

  /** Ends an instance in order, or with SIGKILL, and starts one on a release in its place. Meanwhile `others` serve. */
  async replace (index: number, release: string, { kill = false } = {}): Promise<void> {
    const [old] = this.instances.splice(index, 1)
    if (kill) old!.worker.kill('SIGKILL')
    else {
      await old!.worker.call('close')
      old!.worker.kill('SIGTERM')
    }
    await old!.worker.exited
    this.instances.splice(index, 0, await this.#boot(release))
  }

  /** Calls a function of every instance. */
  all<T> (name: string, ...args: unknown[]): Promise<T[]> {
    return Promise.all(this.instances.map(({ worker }) => worker.call<T>(name, ...args)))
  }

  /** Whether everybody knows everybody and may cache, now or soon. */
  async isWhole (timeoutMs: number): Promise<boolean> {
    return waitFor(async () => (await this.all<{ mode: string, members: number, cache: string }>('state'))
      .every(({ mode, members, cache }) => mode === 'cluster' && members === this.instances.length && cache === 'coherent'), { timeoutMs })
      .catch(() => false)
  }

  async #boot (release: string): Promise<Instance> {
    const [worker] = await workers(this.#t, 1, new URL('app.js', import.meta.url), { env: { ...this.#env, RELEASE: release } })
    const { port } = await worker!.call<{ port: number }>('info')
    return { release, worker: worker!, port }
  }
}

/** Hands each connection to the next of the ports. */
async function balance (t: Scope, ports: () => number[]): Promise<{ port: number }> {
  const open = new Set<Socket>()
  let turn = 0
  const server = createServer((client) => {
    const all = ports()
    const upstream = connect(all[turn++ % all.length]!, '127.0.0.1')
    for (const [one, other] of [[client, upstream], [upstream, client]] as const) {
      open.add(one)
      one.on('error', () => {}).on('close', () => {
        open.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of open) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  return server.address() as AddressInfo
}
