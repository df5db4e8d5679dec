import { randomUUID } from 'node:crypto'
import type { Entry, GuestBook, NewEntry } from './guestbook.ts'

/** Entries kept; the oldest go first. */
const CAPACITY = 1000

/** The embedded default: entries of this process, gone when it ends. */
export function memoryGuestBook (): GuestBook {
  const entries: Entry[] = []
  return {
    shared: false,
    async add ({ name, message }: NewEntry) {
      const entry = { id: randomUUID(), name, message, createdAt: new Date().toISOString() }
      entries.unshift(entry)
      if (entries.length > CAPACITY) entries.pop()
      return entry
    },
    async remove (id) {
      const at = entries.findIndex((entry) => entry.id === id)
      if (at !== -1) entries.splice(at, 1)
      return at !== -1
    },
    async list (limit) {
      return entries.slice(0, limit)
    }
  }
}
