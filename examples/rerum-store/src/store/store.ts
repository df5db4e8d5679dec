import type { FastifyInstance } from 'fastify'
import { FST_ERR_RERUM_INVALID_ID } from '../errors.ts'
import { Commits } from './commit.ts'
import { makeIndexes, openDatabase, type Database } from './database.ts'
import { isName } from './document.ts'
import { TreeLocks } from './locks.ts'
import { Maker } from './make.ts'
import { Reads } from './reads.ts'
import { Writes } from './writes.ts'

const SWEEP_MS = 5000

/** The object store. */
export class Store {
  readonly contextUrl: string
  readonly writes: Writes
  readonly #app: FastifyInstance
  readonly #db: Database
  readonly #commits: Commits
  readonly #idBase: string
  #sweep: NodeJS.Timeout | undefined

  constructor (app: FastifyInstance, publicUrl: string) {
    this.contextUrl = `${publicUrl}/v1/context.json`
    this.#idBase = `${publicUrl}/v1/id/`
    this.#app = app
    this.#db = withIndexes(openDatabase(app))
    this.#commits = new Commits(this.#db, app.configCache)
    this.writes = new Writes({ db: this.#db, commits: this.#commits, locks: new TreeLocks(app.redisLink), make: new Maker(this.#idBase) })
  }

  /** Reads for one request. */
  reads (): Reads {
    return new Reads(this.#db, this.#app.configCache)
  }

  /**
   * The id or slug in the `@id` of an object of this store; undefined for a foreign one. The same address is written in several
   * ways: with http or https, another case of the host, a slash at its end, a fragment.
   *
   * @throws FST_ERR_RERUM_INVALID_ID for an address of this store that names nothing it could hold
   */
  nameIn (uri: string): string | undefined {
    const [given, base] = [new URL(uri), new URL(this.#idBase)]
    if (!/^https?:$/.test(given.protocol) || given.host !== base.host || !given.pathname.startsWith(base.pathname)) return undefined
    const name = given.pathname.slice(base.pathname.length).replace(/\/+$/, '')
    if (!isName(name) || given.search !== '') throw new FST_ERR_RERUM_INVALID_ID(uri.slice(0, 200))
    return name
  }

  /** Whether an address is that of an object here. */
  isOwn (uri: string): boolean {
    return URL.canParse(uri) && this.nameIn(uri) !== undefined
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
        this.#app.log.debug({ err }, 'interrupted writes were not looked for')
      }
      running = false
    }, SWEEP_MS).unref()
  }

  close (): void {
    clearInterval(this.#sweep)
  }
}

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
