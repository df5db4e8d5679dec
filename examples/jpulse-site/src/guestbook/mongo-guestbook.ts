import { type Collection, ObjectId, type WithId } from 'mongodb'
import type { MongoLink } from 'server-kit'
import type { Entry, GuestBook, NewEntry } from './guestbook.ts'

export interface EntryDocument {
  name: string
  message: string
  createdAt: Date
}

/** Entries in MongoDB: they outlive the process, and every worker of every server sees the same ones. */
export function mongoGuestBook (collection: Collection<EntryDocument>, link: MongoLink): GuestBook {
  let indexed: Promise<unknown> | undefined
  // Made at the first use, because MongoDB may be away at boot. The list is right without it, only slower.
  const index = () => {
    indexed ??= collection.createIndex(NEWEST_FIRST).catch(() => { indexed = undefined })
    return indexed
  }
  return {
    shared: true,
    add ({ name, message }: NewEntry) {
      return link.use(async () => {
        const document = { _id: new ObjectId(), name, message, createdAt: new Date() }
        await collection.insertOne(document)
        return toEntry(document)
      })
    },
    remove (id) {
      return link.use(async () => ObjectId.isValid(id) && (await collection.deleteOne({ _id: new ObjectId(id) })).deletedCount > 0)
    },
    list (limit) {
      return link.use(async () => {
        await index()
        const documents = await collection.find().sort(NEWEST_FIRST).limit(limit).toArray()
        return documents.map(toEntry)
      })
    }
  }
}

const NEWEST_FIRST = { createdAt: -1, _id: -1 } as const

function toEntry ({ _id, name, message, createdAt }: WithId<EntryDocument>): Entry {
  return { id: _id.toHexString(), name, message, createdAt: createdAt.toISOString() }
}
