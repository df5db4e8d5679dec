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
    async list (limit) {
      return entries.slice(0, limit)
    }
  }
}
