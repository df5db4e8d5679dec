import { within } from '@jpulse/plugin-kit'
import type { FastifyInstance } from 'fastify'
import type { InstanceFacts, MongoServer } from '../formats/index.ts'

/** What we need of a MongoDB client: `fastify.mongo` of @fastify/mongodb has it. */
export interface MongoHandle {
  client: { db (name: string): { command (command: Record<string, unknown>): Promise<unknown> }, options?: unknown }
  db?: { databaseName: string } | undefined
}

/** MongoDB as this process sees it. */
export interface MongoState {
  server: MongoServer
  database: InstanceFacts['database']['status']
  name: string | null
}

const NOTHING = { version: null, connections: null, uptime: null, host: null }

/** Looks after MongoDB. Takes single fields of its answers, so that no connection string gets on. */
export class MongoWatch {
  readonly #fastify: FastifyInstance
  readonly #option: MongoHandle | false | undefined
  readonly #timeoutMs: number
  #state: MongoState = { server: { status: 'unknown', ...NOTHING }, database: 'disconnected', name: null }

  constructor (fastify: FastifyInstance, option: MongoHandle | false | undefined, timeoutMs: number) {
    this.#fastify = fastify
    this.#option = option
    this.#timeoutMs = timeoutMs
  }

  get state (): MongoState {
    return this.#handle === null ? { server: { status: 'disabled', ...NOTHING }, database: 'disabled', name: null } : this.#state
  }

  /** Whether MongoDB answers now; null without MongoDB. */
  async ping (): Promise<boolean | null> {
    const handle = this.#handle
    if (handle === null) return null
    return within(this.#timeoutMs, command(handle, { ping: 1 }), late).then(() => true, () => false)
  }

  /** Asks for what the metrics show, anew each time: what hangs may never answer. */
  async refresh (): Promise<void> {
    const handle = this.#handle
    if (handle === null) return
    await within(this.#timeoutMs, ask(handle), late).then((state) => { this.#state = state }, () => { this.#down(handle) })
  }

  #down (handle: MongoHandle): void {
    this.#state = { server: { status: 'down', ...NOTHING, host: hostOf(handle) }, database: 'disconnected', name: nameOf(handle) }
  }

  get #handle (): MongoHandle | null {
    if (this.#option === false) return null
    if (this.#option !== undefined) return this.#option
    const registered = this.#fastify.hasDecorator('mongo') ? (this.#fastify as unknown as { mongo: MongoHandle }).mongo : undefined
    return typeof registered?.client?.db === 'function' ? registered : null
  }
}

async function ask (handle: MongoHandle): Promise<MongoState> {
  await command(handle, { ping: 1 })
  // Who may not ask for the status, or a server that does not know it, is connected all the same.
  const status = await command(handle, { serverStatus: 1 }).catch(() => null)
  return { server: { status: 'running', ...fieldsOf(status), host: hostOf(handle) }, database: 'connected', name: nameOf(handle) }
}

const late = () => new Error('MongoDB did not answer in time')

const command = async (handle: MongoHandle, what: Record<string, unknown>): Promise<unknown> => handle.client.db('admin').command(what)

const nameOf = ({ db }: MongoHandle): string | null => db?.databaseName.slice(0, 100) ?? null

function fieldsOf (status: unknown): Pick<MongoServer, 'version' | 'connections' | 'uptime'> {
  const { version, uptime, connections } = (status ?? {}) as { version?: unknown, uptime?: unknown, connections?: { current?: unknown, available?: unknown } }
  return {
    version: typeof version === 'string' ? version.slice(0, 50) : null,
    uptime: number(uptime),
    connections: typeof connections === 'object' && connections !== null ? { current: number(connections.current), available: number(connections.available) } : null
  }
}

/** Of the driver's options only host and port: the others hold the credentials. */
function hostOf ({ client }: MongoHandle): string | null {
  const hosts = (client.options as { hosts?: Array<{ host?: unknown, port?: unknown, socketPath?: unknown }> } | undefined)?.hosts
  if (!Array.isArray(hosts)) return null
  return hosts.map(({ host, port }) => typeof host === 'string' ? `${host}:${Number(port) || 27017}` : 'socket').join(',').slice(0, 500)
}

/** Also of the driver's Long and Int32. */
function number (value: unknown): number | null {
  const parsed = typeof value === 'number' || (typeof value === 'object' && value !== null) ? Number(value) : NaN
  return Number.isFinite(parsed) ? parsed : null
}
