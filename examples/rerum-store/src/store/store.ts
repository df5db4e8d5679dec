import type {} from '@jpulse/cursor-pagination'
import { LogThrottle } from '@jpulse/plugin-kit'
import type { FastifyInstance } from 'fastify'
import { FST_ERR_RERUM_INVALID_ID } from '../errors.ts'
import { isRecord } from './body.ts'
import { Commits } from './commit.ts'
import { makeIndexes, openDatabase, type Database } from './database.ts'
import { isName } from './document.ts'
import { LOGIC, MAX_DEPTH, MAX_LIST } from './filter.ts'
import { TreeLocks } from './locks.ts'
import { Maker } from './make.ts'
import { Parts } from './parts.ts'
import { Reads } from './reads.ts'
import { Writes } from './writes.ts'

const SWEEP_MS = 5000

/** The object store. */
export class Store {
  readonly publicUrl: string
  readonly contextUrl: string
  readonly writes: Writes
  readonly #app: FastifyInstance
  readonly #throttle = new LogThrottle()
  readonly #db: Database
  readonly #commits: Commits
  readonly #idBase: string
  readonly #parts: Parts
  #sweep: NodeJS.Timeout | undefined

  constructor (app: FastifyInstance, publicUrl: string) {
    this.publicUrl = publicUrl
    this.contextUrl = `${publicUrl}/v1/context.json`
    this.#idBase = `${publicUrl}/v1/id/`
    this.#app = app
    this.#parts = new Parts(app.configCache)
    this.#db = withIndexes(openDatabase(app))
    this.#commits = new Commits(this.#db, app.configCache)
    this.writes = new Writes({ db: this.#db, commits: this.#commits, locks: new TreeLocks(app.redisLink), make: new Maker(this.#idBase, this.contextUrl) })
  }

  /** Reads for one request. */
  reads (): Reads {
    return new Reads({ db: this.#db, cache: this.#app.configCache, paginate: this.#app.paginate, parts: this.#parts })
  }

  /**
   * The id or slug in the `@id` of an object of this store; undefined for a foreign one. The same address is written in several
   * ways: with http or https, another case of the host or a dot after it, more slashes than one, a fragment.
   *
   * @throws FST_ERR_RERUM_INVALID_ID for an address of this store that names nothing it could hold
   */
  nameIn (uri: string): string | undefined {
    const [given, base] = [new URL(uri), new URL(this.#idBase)]
    const [path, root] = [given.pathname.replace(/\/{2,}/g, '/'), base.pathname.slice(0, -'id/'.length)]
    if (!/^https?:$/.test(given.protocol) || given.host.replace(/\.(?=:|$)/, '') !== base.host || !`${path}/`.startsWith(root)) return undefined
    const name = path.startsWith(base.pathname) ? path.slice(base.pathname.length).replace(/\/$/, '') : ''
    if (!isName(name) || given.search !== '') throw new FST_ERR_RERUM_INVALID_ID(uri.slice(0, 200))
    return name
  }

  /** Whether an address is that of an object here. */
  isOwn (uri: string): boolean {
    return URL.canParse(uri) && this.nameIn(uri) !== undefined
  }

  /** A filter for what is stored: `_id` and, where it holds an address of this store, `id` stand for `@id` as they do in objects, and that address may be written in any way. */
  located (filter: unknown, depth = 0): unknown {
    // One that is nested deeper, or holds more, is refused.
    if (!isRecord(filter) || depth > MAX_DEPTH) return filter
    const { _id, id, ...rest } = filter
    for (const [name, part] of Object.entries(rest)) {
      if (LOGIC.has(name) && Array.isArray(part) && part.length <= MAX_LIST) rest[name] = part.map((one) => this.located(one, depth + 1))
    }
    const more: unknown[] = []
    if (rest['@id'] !== undefined) rest['@id'] = eachText(rest['@id'], (text) => this.#ownUri(text) ?? text)
    if (_id !== undefined) more.push({ '@id': eachText(_id, (text) => this.uri(text)) })
    const own = typeof id === 'string' && rest['@id'] === undefined ? this.#ownUri(id) : undefined
    if (own !== undefined) more.push({ $or: [{ '@id': own }, { id }] })
    else if (id !== undefined) Object.assign(rest, { id })
    if (more.length === 0) return rest
    const { $and } = rest
    // What is no list of filters is refused where it stands now.
    const given: unknown[] = $and === undefined ? [] : Array.isArray($and) && $and.length > 0 ? $and : [{ $and }]
    return { ...rest, $and: [...given, ...more] }
  }

  #ownUri (uri: string): string | undefined {
    const name = this.#nameOrNone(uri)
    return name === undefined ? undefined : this.uri(name)
  }

  #nameOrNone (uri: string): string | undefined {
    try {
      return this.nameIn(uri)
    } catch {
      // No address at all, or none of an object: a value like others.
      return undefined
    }
  }

  /** The `@id` of the object of an id. */
  uri (id: string): string {
    return this.#idBase + id
  }

  /** Every five seconds completes writes whose intent has stood since the last sweep. */
  startSweep (): void {
    let seen: ReadonlySet<string> = new Set()
    let running = false
    this.#sweep = setInterval(async () => {
      if (running) return
      running = true
      try {
        seen = await this.#db.use(() => this.#commits.sweep(seen))
      } catch (err) {
        if (this.#throttle.pass() !== null) this.#app.log.warn({ err }, 'interrupted writes were not looked for, and stay so until the next attempt')
      }
      running = false
    }, SWEEP_MS).unref()
  }

  close (): void {
    clearInterval(this.#sweep)
  }
}

/** A condition with other texts in the place of those that it compares with. */
function eachText (condition: unknown, change: (text: string) => string, depth = 0): unknown {
  if (typeof condition === 'string') return change(condition)
  // A longer one is refused.
  if (Array.isArray(condition)) return condition.length > MAX_LIST ? condition : condition.map((one) => typeof one === 'string' ? change(one) : one)
  if (!isRecord(condition) || depth > MAX_DEPTH) return condition
  return Object.fromEntries(Object.entries(condition).map(([name, part]) => {
    const isOfTexts = name === '$not' ? isRecord(part) : TEXTS.has(name) && (typeof part === 'string' || Array.isArray(part))
    return [name, isOfTexts ? eachText(part, change, depth + 1) : part]
  }))
}

const TEXTS: ReadonlySet<string> = new Set(['$eq', '$ne', '$in', '$nin', '$all'])

/** Nothing is asked of the database before its unique index stands. Made once, tried again where that failed. */
function withIndexes (db: Database): Database {
  let made: Promise<void> | undefined
  const make = () => {
    made ??= makeIndexes(db)
    made.catch(() => { made = undefined })
    return made
  }
  return { ...db, use: (work) => db.use(async () => { await make(); return work() }) }
}
