import { Binary, Code, MaxKey, ObjectId } from 'bson'
import { compareBson, Kind, kindOf, type Place } from '../bson/index.ts'
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
  /** The last value that is given separates the document from the next one, so a walk goes on exactly there without it. */
  exact?: true
}

/** What is known where a key is shortened. */
export interface StubContext {
  fields: readonly SortField[]
  keyName: string
  /** Strings are ordered by their bytes. */
  isSimple: boolean
  /** The direction in which the cursor reads. */
  backwards: boolean
  /** The sort key of the next document in that direction, where it is known. */
  next: SortKey | undefined
}

/**
 * Shortens a sort key: the values before the first long one, then a text between that one and the next document's, or where
 * there is none a bound before the document; nothing of what follows.
 *
 * @param room about how many bytes all of it may take
 */
export function stubOf (key: SortKey, room: number, { fields, keyName, isSimple, backwards, next }: StubContext): { key: SortKey, stub: Stub } {
  const at = firstLong(key, room * 0.4)
  const id = key[fields.findIndex(({ field }) => field === keyName)]
  const [lower, upper] = boundsOf(key[at], Math.min(128, room / 10), isSimple)
  const base = { digest: digestOf(key), lower, upper, ...(sizeOf(id) > room * 0.15 ? {} : { id }) }
  const upwards = (fields[at]?.direction === 1) !== backwards
  const left = room - bytesOf({ key: key.slice(0, at), ...base }).length
  const separator = isSimple && next?.length === key.length ? separatorOf(key, next, at, upwards, upwards ? upper : lower).find((one) => sizeOf(one) <= left) : undefined
  return separator === undefined
    ? { key: [...key.slice(0, at), upwards ? lower : upper], stub: base }
    : { key: [...key.slice(0, at), separator], stub: { ...base, exact: true } }
}

/** Where a walk goes on when nothing is left of the document and nothing separates it from the next: before it in the direction of reading, so that nothing is lost. */
export function outerBound (key: SortKey, { lower, upper }: Stub, fields: readonly SortField[], backwards: boolean): SortKey {
  const upwards = (fields[key.length - 1]?.direction === 1) !== backwards
  return [...key.slice(0, -1), upwards ? lower : upper]
}

/**
 * Values that stand after the one at a place of a key, and before the next key, as the separators of a prefix B-tree do
 * (Bayer and Unterauer, "Prefix B-trees", 1977).
 *
 * @param far the bound of the value in the direction of reading
 */
function separatorOf (key: SortKey, next: SortKey, at: number, upwards: boolean, far: unknown): unknown[] {
  const isTied = key.slice(0, at).every((value, i) => compareBson(value, next[i]) === 0)
  const isBetween = (one: unknown) => {
    const [fromThis, fromNext] = [compareBson(one, key[at]), compareBson(one, next[at])]
    return upwards ? fromThis > 0 && (!isTied || fromNext < 0) : fromThis < 0 && (!isTied || fromNext > 0)
  }
  const isText = kindOf(key[at]) === Kind.string && kindOf(next[at]) === Kind.string
  return [...(isTied && isText ? textsBetween(String(key[at]), String(next[at])) : []), far].filter(isBetween)
}

/** Beginnings of two texts that may stand between them: up to the first character in which they differ. */
function textsBetween (one: string, other: string): string[] {
  let at = 0
  while (at < one.length && one.codePointAt(at) === other.codePointAt(at)) at += String.fromCodePoint(one.codePointAt(at) ?? 0).length
  const [low, high] = [one, other].sort((a, b) => compareBson(a, b)) as [string, string]
  const until = (text: string) => text.slice(0, at) + String.fromCodePoint(text.codePointAt(at) ?? 0)
  return [until(high), `${until(low)}\u{10FFFF}`]
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
