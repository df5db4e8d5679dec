import { jsonOf } from '@jpulse/plugin-kit'
import { FST_ERR_CONFIG_CACHE_INVALID_FEATURE, FST_ERR_CONFIG_CACHE_INVALID_VALUE, FST_ERR_CONFIG_CACHE_TOO_LARGE } from './errors.ts'
import { checkFlag } from './features/index.ts'
import { isFlagKey } from './names.ts'

/**
 * The JSON of a value; `undefined` counts as null.
 *
 * @throws FST_ERR_CONFIG_CACHE_INVALID_VALUE, FST_ERR_CONFIG_CACHE_TOO_LARGE
 */
export function toText (value: unknown, maxBytes = Infinity): string {
  const text = jsonOf(value ?? null, (reason) => new FST_ERR_CONFIG_CACHE_INVALID_VALUE(reason), true)
  const bytes = Buffer.byteLength(text)
  if (bytes > maxBytes) throw new FST_ERR_CONFIG_CACHE_TOO_LARGE(bytes, maxBytes)
  return text
}

/** JSON writes half of a surrogate pair, and nothing else of that range, as an escape. */
const HALF_PAIR = /(?<!\\)(?:\\\\)*\\ud[89a-f]/

/**
 * The JSON of a value that is to be stored. UTF-8 has no form for half a surrogate pair: a database would keep another text than Redis.
 *
 * @throws FST_ERR_CONFIG_CACHE_INVALID_VALUE, FST_ERR_CONFIG_CACHE_TOO_LARGE
 */
export function toStoredText (value: unknown, maxBytes: number): string {
  const text = toText(value, maxBytes)
  if (HALF_PAIR.test(text)) throw new FST_ERR_CONFIG_CACHE_INVALID_VALUE('it holds half of a surrogate pair')
  return text
}

/**
 * A value nobody can change. Every level hands out what its JSON says, so that a value is the same whether it came from
 * the process, from Redis or from the source. Frozen once per load instead of cloned once per read: a hit costs nothing.
 */
export function fromText (text: string): unknown {
  return freeze(JSON.parse(text))
}

function freeze (value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  for (const name in value) freeze((value as Record<string, unknown>)[name])
  return Object.freeze(value)
}

/**
 * JSON in which the order of the properties says nothing: equal values have equal texts. A Map, or whatever else is a list of what it holds, is that list.
 *
 * @param visit called with each other object; may throw
 */
export function canonical (value: unknown, visit: (part: object) => void = () => {}): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part
    if (Symbol.iterator in part) return [...part as Iterable<unknown>]
    visit(part)
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => a < b ? -1 : 1))
  }) ?? ''
}

/** The value of an entry after a write, which the writer stores in Redis so that nobody has to load it (write-through). */
export interface WrittenValue {
  readonly key: string
  /** Each of them is blocked by the write. */
  readonly tags: readonly string[]
  readonly text: string
  readonly ttlMs: number
}

/** Keys and what they stand for now. */
export type Values = Readonly<Record<string, unknown>>

/** What can be written to Redis of the values: those of keys that the write blocks, and that could be cached at all. */
export function writtenValues (values: Values, keys: readonly string[], ttlMs: number, maxBytes: number): WrittenValue[] {
  const written: WrittenValue[] = []
  for (const key of keys) {
    if (!Object.hasOwn(values, key) || values[key] === undefined) continue
    const text = textOf(key, values[key], maxBytes)
    if (text !== undefined) written.push({ key, tags: [key], text, ttlMs })
  }
  return written
}

const REFUSED = [FST_ERR_CONFIG_CACHE_INVALID_FEATURE, FST_ERR_CONFIG_CACHE_INVALID_VALUE, FST_ERR_CONFIG_CACHE_TOO_LARGE]

/** The database is written by now: what cannot be cached, or is no flag though its key is that of one, is an error of whoever reads it, not of the write. */
function textOf (key: string, value: unknown, maxBytes: number): string | undefined {
  try {
    const text = toText(value, maxBytes)
    if (isFlagKey(key) && text !== 'null') checkFlag(value)
    return text
  } catch (err) {
    if (REFUSED.some((one) => err instanceof one)) return undefined
    throw err
  }
}
