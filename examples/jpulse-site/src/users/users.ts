import type { Collection } from 'mongodb'

export type Role = 'user' | 'admin'

/** An account. The user name, in lower case, is its id. */
export interface User {
  username: string
  email: string
  /** See auth/password.ts. */
  hash: string
  role: Role
  createdAt: Date
  /** Nobody can sign in with it. */
  locked?: boolean
}

/** An account as it is listed: the name is the id of its document. */
export interface ListedUser extends Omit<User, 'username' | 'hash'> { _id: string }

/** Where the accounts live. Methods reject with DocumentsUnavailableError where that is out of reach. */
export interface Users {
  /** @throws UserExistsError naming the field that is taken */
  add (user: User): Promise<void>
  /** By user name or e-mail address, however it was typed. */
  find (name: string): Promise<User | null>
  /** Gives an account another password; where `from` is given, only in place of that one. False where there is no such account. */
  setHash (username: string, hash: string, from?: string): Promise<boolean>
  /** False where there is no such account. */
  setLocked (username: string, locked: boolean): Promise<boolean>
  /** False where there is no such account. */
  remove (username: string): Promise<boolean>
  /** What `fastify.paginate` walks, within `use`. */
  source (): Collection<ListedUser> | ListedUser[]
  use<T> (fn: () => Promise<T>): Promise<T>
}
