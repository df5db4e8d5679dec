import { setTimeout as sleep } from 'node:timers/promises'
import { FST_ERR_CONFIG_CACHE_VERSION_CONFLICT, versionOf } from '@jpulse/config-cache'
import type {} from '@jpulse/cluster-broadcast'
import type { Namespace } from '@jpulse/ws-namespaces'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { EditedError, InputError } from '../errors.ts'
import { type Endpoint, endpointsOf, MOST, optionsOf } from './endpoint.ts'

const COLLECTION = 'config'
const KEY = 'endpoints'
const DOCUMENT = `config:${COLLECTION}:${KEY}`
const CHANNEL = 'site:endpoints'
const RETRY_MS = 2000
const BOOT_MS = 2000
/** Longest wait for the workers to have what was saved. One that is late has it by the event of the cache. */
const TOLD_MS = 3000
/** A save of two administrators at the same moment is tried anew so often. */
const ATTEMPTS = 5

interface Made { endpoint: Endpoint, namespace: Namespace }

/**
 * WebSocket endpoints that administrators make while the site runs. They are one document of configuration: each worker makes its
 * namespaces like it whenever config-cache says that it has changed, at boot, and after an outage.
 */
class Endpoints {
  readonly #app: FastifyInstance
  readonly #made = new Map<string, Made>()
  #turn: Promise<unknown> = Promise.resolve()
  #saving: Promise<unknown> = Promise.resolve()
  #told = ''

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  /** Those of this worker. */
  get names (): string[] {
    return [...this.#made.keys()].sort()
  }

  async list (): Promise<Endpoint[]> {
    const { endpoints } = await this.#read()
    return [...(endpoints ?? new Map<string, Endpoint>()).values()].sort((a, b) => a.name < b.name ? -1 : 1)
  }

  /** Resolves with the workers that have not said yet that they have it. @throws InputError, EditedError */
  async add (endpoint: Endpoint): Promise<string[]> {
    return this.#save((endpoints) => {
      if (endpoints.has(endpoint.name) || this.#isTaken(endpoint.name)) throw new InputError(`There is an endpoint ${endpoint.name} already.`)
      if (endpoints.size >= MOST) throw new InputError(`There are ${MOST} endpoints already. Remove one first.`)
      endpoints.set(endpoint.name, endpoint)
    })
  }

  /** Its connections end. @throws InputError, EditedError */
  async remove (name: string): Promise<string[]> {
    return this.#save((endpoints) => {
      if (!endpoints.delete(name)) throw new InputError('There is no such endpoint.')
    })
  }

  /** Makes the namespaces of this worker like the document. One after the other: each that begins later reads what was saved before. */
  refresh (): Promise<void> {
    const turn = this.#turn.then(() => this.#apply())
    this.#turn = turn.catch(() => {})
    return turn
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

  async #save (change: (endpoints: Map<string, Endpoint>) => void): Promise<string[]> {
    // Those of this worker one after the other: they would only refuse each other.
    const saved = this.#saving.then(() => this.#write(change))
    this.#saving = saved.catch(() => {})
    await saved
    const { replies, missing } = await this.#app.appCluster.broadcast.ask(CHANNEL, null, { timeoutMs: TOLD_MS })
    return [...missing, ...replies.filter((reply) => 'error' in reply).map(({ instanceId }) => instanceId)]
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
  const closing = new AbortController()
  /** Until it has succeeded: the documents may be out of reach. */
  const refresh = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      try {
        return await endpoints.refresh()
      } catch (err) {
        if (closing.signal.aborted) return
        app.log.warn({ err }, 'the endpoints are not known yet, trying again')
        await sleep(RETRY_MS, undefined, { ref: false, signal: closing.signal }).catch(() => {})
      }
    }
  }
  await app.appCluster.broadcast.subscribe(CHANNEL, () => endpoints.refresh())
  const stop = app.configCache.onChange((tags) => { if (tags === null || tags.includes(DOCUMENT)) refresh() })
  // Before it listens, but no boot waits for documents that are out of reach.
  app.addHook('onReady', async () => {
    await Promise.race([endpoints.refresh().catch(() => { refresh() }), sleep(BOOT_MS, undefined, { ref: false, signal: closing.signal }).catch(() => {})])
  })
  app.addHook('preClose', async () => {
    closing.abort()
    stop()
  })
}, { name: 'site-endpoints', fastify: '5.x', dependencies: ['@jpulse/ws-namespaces', '@jpulse/config-cache', 'site-namespaces'] })

const same = (one: Endpoint, other: Endpoint | undefined): boolean => other !== undefined && (Object.keys(one) as Array<keyof Endpoint>).every((field) => one[field] === other[field])
