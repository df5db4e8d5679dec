export type Role = 'user' | 'admin'

/** An account. The user name, in lower case, is its id. */
export interface User {
  username: string
  email: string
  /** See auth/password.ts. */
  hash: string
  role: Role
  createdAt: Date
}

/** Where the accounts live. Methods reject with DocumentsUnavailableError where that is out of reach. */
export interface Users {
  /** @throws UserExistsError naming the field that is taken */
  add (user: User): Promise<void>
  /** By user name or e-mail address. */
  find (name: string): Promise<User | null>
  /** Gives an account another password. */
  setHash (username: string, hash: string): Promise<void>
  /** Newest first, without what is secret. */
  list (limit: number): Promise<Array<Omit<User, 'hash'>>>
}
