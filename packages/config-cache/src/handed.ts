import { FST_ERR_CONFIG_CACHE_INVALID_VALUE, FST_ERR_CONFIG_CACHE_TOO_LARGE } from './errors.ts'
import { toText } from './json.ts'

/** What a writer knows an entry to be once its work is done: other instances need not load it. */
export interface Handed {
  readonly key: string
  /** Each of them is blocked by the write. */
  readonly tags: readonly string[]
  readonly text: string
  readonly ttlMs: number
}

/** Keys and what they stand for now. */
export type Values = Readonly<Record<string, unknown>>

/** What can be handed on of the values: those of keys that the write blocks, and that could be cached at all. */
export function handOn (values: Values, keys: readonly string[], ttlMs: number, maxBytes: number): Handed[] {
  const handed: Handed[] = []
  for (const key of keys) {
    if (!Object.hasOwn(values, key)) continue
    const text = textOf(values[key], maxBytes)
    if (text !== undefined) handed.push({ key, tags: [key], text, ttlMs })
  }
  return handed
}

/** The database is written by now: what cannot be cached is an error of whoever reads it, not of the write. */
function textOf (value: unknown, maxBytes: number): string | undefined {
  try {
    return toText(value, maxBytes)
  } catch (err) {
    if (err instanceof FST_ERR_CONFIG_CACHE_INVALID_VALUE || err instanceof FST_ERR_CONFIG_CACHE_TOO_LARGE) return undefined
    throw err
  }
}
