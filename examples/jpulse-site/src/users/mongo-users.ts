import { MongoServerError, type Collection } from 'mongodb'
import type { MongoLink } from 'server-kit'
import { UserExistsError } from '../errors.ts'
import { canonical, formsOf } from './canonical.ts'
import type { ListedUser, User, Users } from './users.ts'

export interface UserDocument extends Omit<User, 'username'> { _id: string }

const DUPLICATE_KEY = 11_000

/** Accounts in MongoDB; two unique indexes, not checks, decide who has a name. */
export function mongoUsers (collection: Collection<UserDocument>, link: MongoLink): Users {
  let indexed: Promise<unknown> | undefined
  const index = () => {
    indexed ??= collection.createIndex({ email: 1 }, { unique: true }).catch((err) => {
      indexed = undefined
      throw err
    })
    return indexed
  }
  const findByAddress = async (address: string): Promise<UserDocument | null> => {
    const forms = formsOf(address)
    const found = await collection.find({ email: { $in: forms } }).limit(forms.length).toArray()
    return forms.map((form) => found.find(({ email }) => email === form)).find((user) => user !== undefined) ?? null
  }
  return {
    add ({ username, ...rest }) {
      return link.use(async () => {
        await index()
        try {
          await collection.insertOne({ _id: username, ...rest })
        } catch (err) {
          if (!(err instanceof MongoServerError && err.code === DUPLICATE_KEY)) throw err
          throw new UserExistsError(await collection.findOne({ _id: username }) === null ? 'e-mail address' : 'user name')
        }
      })
    },
    find (name) {
      return link.use(async () => {
        const wanted = canonical(name)
        const found = await collection.findOne({ _id: wanted }) ?? (wanted.includes('@') ? await findByAddress(name) : null)
        return found === null ? null : toUser(found)
      })
    },
    setHash (username, hash, from) {
      return link.use(async () => (await collection.updateOne({ _id: username, ...(from !== undefined && { hash: from }) }, { $set: { hash } })).matchedCount > 0)
    },
    setLocked (username, locked) {
      return link.use(async () => (await collection.updateOne({ _id: username }, { $set: { locked } })).matchedCount > 0)
    },
    remove (username) {
      return link.use(async () => (await collection.deleteOne({ _id: username })).deletedCount > 0)
    },
    source: () => collection as unknown as Collection<ListedUser>,
    use: (fn) => link.use(fn)
  }
}

function toUser ({ _id, email, hash, role, createdAt, locked = false }: UserDocument): User {
  return { username: _id, email, hash, role, createdAt, locked }
}
