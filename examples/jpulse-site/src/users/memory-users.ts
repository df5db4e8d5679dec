import { UserExistsError } from '../errors.ts'
import { canonical } from './canonical.ts'
import type { User, Users } from './users.ts'

/** Accounts in this process: they go when it stops. */
export function memoryUsers (): Users {
  const users = new Map<string, User>()
  const find = (name: string) => users.get(name) ?? [...users.values()].find(({ email }) => email === name) ?? null
  return {
    async add (user) {
      if (users.has(user.username)) throw new UserExistsError('user name')
      if (find(user.email) !== null) throw new UserExistsError('e-mail address')
      users.set(user.username, user)
    },
    async find (name) { return find(canonical(name)) },
    async setHash (username, hash, from) {
      const user = users.get(username)
      if (user === undefined || (from !== undefined && user.hash !== from)) return false
      users.set(username, { ...user, hash })
      return true
    },
    async setLocked (username, locked) {
      const user = users.get(username)
      if (user === undefined) return false
      users.set(username, { ...user, locked })
      return true
    },
    async remove (username) { return users.delete(username) },
    source: () => [...users.values()].map(({ username, hash, ...rest }) => ({ _id: username, ...rest })),
    use: (fn) => fn()
  }
}
