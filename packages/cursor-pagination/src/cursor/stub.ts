import { Binary, Code, MaxKey, ObjectId } from 'bson'
import { Kind, kindOf, type Place } from '../bson/index.ts'
import type { SortField, SortKey } from '../order/index.ts'
import { bytesOf, digestOf } from './canonical.ts'

/**
 * What stands in a cursor for sort values that are too long for it: enough to find the document again and take the values
 * from there, and the bounds of where it stood, should it be gone.
 */
export interface Stub {
  /** Of the whole sort key. */
  digest: Buffer
  /** The key of the document, where it is short. */
  id?: unknown
  /** The value of the last field that is given is somewhere between these. */
  lower: unknown
  upper: unknown
}

/**
 * Shortens a sort key: the values before the first long one, bounds of that one, and nothing of what follows.
 *
 * @param room about how many bytes all of it may take
 * @param isSimple strings are ordered by their bytes
 */
export function stubOf (key: SortKey, fields: readonly SortField[], keyName: string, room: number, isSimple: boolean): { key: SortKey, stub: Stub } {
  const at = firstLong(key, room * 0.4)
  const id = key[fields.findIndex(({ field }) => field === keyName)]
  const [lower, upper] = boundsOf(key[at], Math.min(128, room / 10), isSimple)
  const stub = { digest: digestOf(key), lower, upper, ...(sizeOf(id) > room * 0.15 ? {} : { id }) }
  return { key: [...key.slice(0, at), fields[at]?.direction === 1 ? lower : upper], stub }
}

/** Where a walk goes on when nothing is left of the document: before it in the direction of reading, so that nothing is lost. */
export function outerBound (key: SortKey, { lower, upper }: Stub, fields: readonly SortField[], backwards: boolean): SortKey {
  const upwards = (fields[key.length - 1]?.direction === 1) !== backwards
  return [...key.slice(0, -1), upwards ? lower : upper]
}

const sizeOf = (value: unknown) => bytesOf({ value }).length

function firstLong (key: SortKey, room: number): number {
  let size = 0
  const at = key.findIndex((value) => (size += sizeOf(value)) > room)
  return at === -1 ? key.length - 1 : at
}

function boundsOf (value: unknown, most: number, isSimple: boolean): [lower: unknown, upper: unknown] {
  const kind = kindOf(value)
  if (kind === Kind.string) {
    const prefix = prefixOf(String(value), most)
    // U+FFFF has the highest weight in every ICU collation.
    return [prefix, isSimple ? following(prefix) : `${prefix}\uFFFF`]
  }
  const ends = ENDS.get(kind)
  return ends?.() ?? [value, value]
}

/** The lowest value of the types whose values can be long, and the lowest of the next type. */
const ENDS = new Map<Place, () => [unknown, unknown]>([
  [Kind.object, () => [{}, new Binary(new Uint8Array())]],
  [Kind.binary, () => [new Binary(new Uint8Array()), new ObjectId(new Uint8Array(12))]],
  [Kind.code, () => [new Code(''), new MaxKey()]],
  [Kind.codeWithScope, () => [new Code('', {}), new MaxKey()]]
])

/** A beginning of a text that is less than it, of whole characters. */
function prefixOf (text: string, most: number): string {
  let prefix = ''
  let size = 0
  for (const character of text) {
    size += Buffer.byteLength(character)
    if (size > most || prefix.length + character.length >= text.length) break
    prefix += character
  }
  return prefix
}

/** The least text above all that begin with the prefix; of none, the first value after all texts. */
function following (prefix: string): unknown {
  const characters = [...prefix]
  while (characters.length > 0) {
    const last = characters.pop()?.codePointAt(0) ?? 0
    if (last < 0x10ffff) return characters.join('') + String.fromCodePoint(last === 0xd7ff ? 0xe000 : last + 1)
  }
  return {}
}
