import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { FST_ERR_CONFIG_CACHE_VERSION_CONFLICT, versionOf } from '@jpulse/config-cache'
import type {} from '@jpulse/cluster-broadcast'
import type { Namespace } from '@jpulse/ws-namespaces'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { EditedError, InputError } from '../errors.ts'
import { type Endpoint, endpointsOf, MOST, optionsOf, same } from './endpoint.ts'
import { Repeated } from './repeated.ts'

const COLLECTION = 'config'
const KEY = 'endpoints'
const DOCUMENT = `config:${COLLECTION}:${KEY}`
const CHANNEL = 'site:endpoints'
const BOOT_MS = 2000
/** Longest wait for the workers to have what was saved. One that is late has it by the event of the cache. */
const TOLD_MS = 3000
/** A save of two administrators at the same moment is tried anew so often. */
const ATTEMPTS = 5

interface Made { endpoint: Endpoint, namespace: Namespace }

/** What a worker answers who asks it for the endpoints: the id of each by its name. One of an older release answers nothing. */
type Having = Record<string, string>

/**
 * WebSocket endpoints that administrators make while the site runs. They are one document of configuration: each worker makes its
 * namespaces like it whenever config-cache says that it has changed, at boot, and after an outage.
 */
class Endpoints {
  readonly #app: FastifyInstance
  readonly #made = new Map<string, Made>()
  #turn: Promise<unknown> = Promise.resolve()
  #next: Promise<void> | undefined
  #saving: Promise<unknown> = Promise.resolve()
  #told = ''

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  /** Those of this worker. */
  get names (): string[] {
    return [...this.#made.keys()].sort()
  }

  /** Those of this worker, with their ids; one that has none has an empty one. */
  get having (): Having {
    return Object.fromEntries([...this.#made].map(([name, { endpoint }]) => [name, endpoint.id ?? '']))
  }

  async list (): Promise<Endpoint[]> {
    const { endpoints } = await this.#read()
    return sorted((endpoints ?? new Map<string, Endpoint>()).values())
  }

  /** What this worker has, for when the document is out of reach. */
  known (): Endpoint[] {
    return sorted([...this.#made.values()].map(({ endpoint }) => endpoint))
  }

  /** Resolves with the workers that have not said yet that they have it. @throws InputError, EditedError */
  async add (wanted: Omit<Endpoint, 'id'>): Promise<string[]> {
    const endpoint = { ...wanted, id: randomUUID() }
    await this.#save((endpoints) => {
      if (endpoints.has(endpoint.name) || this.#isTaken(endpoint.name)) throw new InputError(`There is an endpoint ${endpoint.name} already.`)
      if (endpoints.size >= MOST) throw new InputError(`There are ${MOST} endpoints already. Remove one first.`)
      endpoints.set(endpoint.name, endpoint)
    })
    return this.#tellAll((having) => having[endpoint.name] === endpoint.id)
  }

  /** Its connections end. Resolves with the workers that have not said yet that it is gone. @throws InputError, EditedError */
  async remove (name: string): Promise<string[]> {
    let id: string | undefined
    await this.#save((endpoints) => {
      id = endpoints.get(name)?.id ?? ''
      if (!endpoints.delete(name)) throw new InputError('There is no such endpoint.')
    })
    // Another one of the name may have been made meanwhile.
    return this.#tellAll((having) => having[name] !== id)
  }

  /** Makes the namespaces of this worker like the document. One after the other; who comes while another waits for its turn shares it, which reads later. */
  refresh (): Promise<void> {
    this.#next ??= this.#turn.then(() => {
      this.#next = undefined
      return this.#apply()
    })
    this.#turn = this.#next.catch(() => {})
    return this.#next
  }

  async #apply (): Promise<void> {
    const { endpoints } = await this.#read()
    // Those that are made stay, of a document that a later release wrote, or nobody meant.
    if (endpoints === null) return
    for (const [name, { endpoint, namespace }] of this.#made) {
      if (same(endpoint, endpoints.get(name))) continue
      this.#made.delete(name)
      await namespace.close()
    }
    for (const [name, endpoint] of endpoints) {
      if (this.#made.has(name)) continue
      // The document may have been written by another way than `add`.
      if (this.#isTaken(name)) this.#tell(`there is a namespace ${name} already, so the endpoint of this name is left out`)
      else this.#made.set(name, { endpoint, namespace: this.#app.wsNamespaces.create(name, optionsOf(endpoint)) })
    }
  }

  /** Whether it is a namespace of the site itself, or of its routes. */
  #isTaken (name: string): boolean {
    return name === 'stats' || (!this.#made.has(name) && this.#app.wsNamespaces.get(name) !== null)
  }

  async #read (): Promise<{ stored: unknown, endpoints: Map<string, Endpoint> | null }> {
    const stored = await this.#app.configCache.get(KEY, { collection: COLLECTION })
    const endpoints = endpointsOf(stored)
    if (endpoints === null) this.#tell(`the document ${KEY} is no list of endpoints: those of before stay, and none is made or removed`)
    return { stored, endpoints }
  }

  async #tellAll (has: (having: Having) => boolean): Promise<string[]> {
    const { replies, missing } = await this.#app.appCluster.broadcast.ask(CHANNEL, null, { timeoutMs: TOLD_MS })
    const late = replies.filter((reply) => 'error' in reply || typeof reply.value !== 'object' || reply.value === null || !has(reply.value as Having))
    return [...missing, ...late.map(({ instanceId }) => instanceId)]
  }

  async #save (change: (endpoints: Map<string, Endpoint>) => void): Promise<void> {
    // Those of this worker one after the other: they would only refuse each other.
    const saved = this.#saving.then(() => this.#write(change))
    this.#saving = saved.catch(() => {})
    await saved
  }

  async #write (change: (endpoints: Map<string, Endpoint>) => void): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const { stored, endpoints } = await this.#read()
      if (endpoints === null) throw new InputError(`The document ${KEY} is no list of endpoints. Please mend or delete it first.`)
      change(endpoints)
      try {
        return await this.#app.configCache.set(KEY, { endpoints: [...endpoints.values()] }, { collection: COLLECTION, ifVersion: versionOf(stored) })
      } catch (err) {
        if (!(err instanceof FST_ERR_CONFIG_CACHE_VERSION_CONFLICT)) throw err
        if (attempt === ATTEMPTS) throw new EditedError('list of endpoints')
      }
    }
  }

  /** Once for each. */
  #tell (what: string): void {
    if (this.#told !== what) this.#app.log.error(what)
    this.#told = what
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    endpoints: Endpoints
  }
}

export default fp(async (app: FastifyInstance) => {
  const endpoints = new Endpoints(app)
  app.decorate('endpoints', endpoints)
  const refreshing = new Repeated(() => endpoints.refresh(), (err) => app.log.warn({ err }, 'the endpoints are not known yet, trying again'))
  await app.appCluster.broadcast.subscribe(CHANNEL, async () => {
    await endpoints.refresh()
    return endpoints.having
  })
  const stop = app.configCache.onChange((tags) => { if (tags === null || tags.includes(DOCUMENT)) refreshing.wake() })
  const forget = app.mongoLink?.onUp(() => { refreshing.wake() })
  // Before it listens, but no boot waits for documents that are out of reach.
  app.addHook('onReady', async () => {
    await Promise.race([refreshing.wake(), sleep(BOOT_MS, undefined, { ref: false })])
  })
  app.addHook('preClose', async () => {
    stop()
    forget?.()
    refreshing.close()
  })
}, { name: 'site-endpoints', fastify: '5.x', dependencies: ['@jpulse/ws-namespaces', '@jpulse/config-cache', 'site-namespaces'] })

const sorted = (endpoints: Iterable<Endpoint>): Endpoint[] => [...endpoints].sort((a, b) => a.name < b.name ? -1 : 1)
