import { ObjectId, type Collection } from 'mongodb'
import type { MongoLink } from 'server-kit'

/** What happened to an account, or what an administrator did. */
export interface AuditEntry {
  _id: string
  at: Date
  /** As a person reads it: `signed in`. */
  what: string
  /** Whose account; the administrator's own where the act concerns none. */
  user: string
  /** The administrator who did it; nobody where the user did it, or time. */
  by?: string
  ip: string
  userAgent: string
}

/** Where it is kept, for administrators to read. */
export interface Audit {
  add (entry: Omit<AuditEntry, '_id' | 'at'>): Promise<void>
  /** What `fastify.paginate` walks, within `use`. */
  source (): Collection<AuditEntry> | AuditEntry[]
  use<T> (fn: () => Promise<T>): Promise<T>
}

/** Entries kept in a process; the oldest go first. */
const CAPACITY = 1000
const KEEP_SECONDS = 90 * 24 * 3600

const made = (entry: Omit<AuditEntry, '_id' | 'at'>): AuditEntry => ({ _id: new ObjectId().toHexString(), at: new Date(), ...entry })

export function memoryAudit (): Audit {
  const entries: AuditEntry[] = []
  return {
    async add (entry) {
      entries.push(made(entry))
      if (entries.length > CAPACITY) entries.shift()
    },
    source: () => entries,
    use: (fn) => fn()
  }
}

/** MongoDB forgets entries after 90 days. */
export function mongoAudit (collection: Collection<AuditEntry>, link: MongoLink): Audit {
  let indexed: Promise<unknown> | undefined
  // Made at the first use, because MongoDB may be away at boot.
  const index = () => {
    indexed ??= collection.createIndex({ at: 1 }, { expireAfterSeconds: KEEP_SECONDS }).catch(() => { indexed = undefined })
    return indexed
  }
  return {
    async add (entry) {
      await link.use(async () => {
        await index()
        await collection.insertOne(made(entry))
      })
    },
    source: () => collection,
    use: (fn) => link.use(fn)
  }
}
