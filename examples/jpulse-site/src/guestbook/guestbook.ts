import { Type, type Static } from 'typebox'

export const NAME_MAX = 80
export const MESSAGE_MAX = 1000
/** Most entries that one request lists. */
export const LIST_MAX = 100

export const NewEntrySchema = Type.Object({
  name: Type.String({ minLength: 1, maxLength: NAME_MAX }),
  message: Type.String({ minLength: 1, maxLength: MESSAGE_MAX })
}, { additionalProperties: false })

export type NewEntry = Static<typeof NewEntrySchema>

export const EntrySchema = Type.Object({
  id: Type.String(),
  name: Type.String(),
  message: Type.String(),
  createdAt: Type.String({ format: 'date-time' })
})

export type Entry = Static<typeof EntrySchema>

/** Where guest book entries live. */
export interface GuestBook {
  /** Whether the entries outlive this process and are the same for all workers. */
  readonly shared: boolean
  add (entry: NewEntry): Promise<Entry>
  /** Takes an entry out; whether it was there. */
  remove (id: string): Promise<boolean>
  /** At most `limit` entries, newest first. */
  list (limit: number): Promise<Entry[]>
}
