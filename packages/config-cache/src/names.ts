import { checkFlag } from './features/index.ts'
import { FST_ERR_CONFIG_CACHE_INVALID_KEY, FST_ERR_CONFIG_CACHE_INVALID_WRITE, FST_ERR_CONFIG_CACHE_RESERVED } from './errors.ts'

const MAX_BYTES = 512
export const MAX_TAGS = 1000
const NONE: readonly string[] = []

/** Entries of the cache's own, which `getOrLoad` must not take. Asked on the way of each hit. */
export const isReserved = (key: string): boolean => key.startsWith('config:') || key.startsWith('route:')

/** Key of a document. */
export const documentKey = (collection: string, key: string): string => `config:${collection}:${key}`

/** Collection of the flags. */
export const FEATURES = 'features'
const FLAG = 'feature:'
/** Key of a flag in its collection. @throws FST_ERR_CONFIG_CACHE_INVALID_KEY where there is no name, which would be that of a flag called "undefined" */
export function featureKey (name: string): string {
  if (typeof name !== 'string' || name === '') throw new FST_ERR_CONFIG_CACHE_INVALID_KEY('The name of a flag', 'must be a string of at least one character')
  return FLAG + name
}
/** Whether an entry is a flag. */
export const isFlagKey = (key: string): boolean => key.startsWith(documentKey(FEATURES, FLAG))

/** @throws FST_ERR_CONFIG_CACHE_INVALID_KEY */
export function checkName (what: string, name: unknown): asserts name is string {
  if (typeof name !== 'string' || name === '') throw new FST_ERR_CONFIG_CACHE_INVALID_KEY(what, 'must be a string of at least one character')
  // UTF-16 units are at most three bytes of UTF-8 each.
  if (name.length * 3 > MAX_BYTES && Buffer.byteLength(name) > MAX_BYTES) throw new FST_ERR_CONFIG_CACHE_INVALID_KEY(what, `is longer than ${MAX_BYTES} bytes`)
  // UTF-8 has no form for half a surrogate pair: names that differ in nothing else would be one key in Redis.
  if (/\p{Surrogate}/u.test(name)) throw new FST_ERR_CONFIG_CACHE_INVALID_KEY(what, 'is no well-formed Unicode')
}

/** @throws FST_ERR_CONFIG_CACHE_INVALID_KEY, FST_ERR_CONFIG_CACHE_RESERVED */
export function checkOwnKey (key: unknown): asserts key is string {
  checkName('The key', key)
  if (isReserved(key)) throw new FST_ERR_CONFIG_CACHE_RESERVED(key)
}

/** Names, of which one alone may stand without its array. */
export type Names = string | readonly string[]

/** @throws FST_ERR_CONFIG_CACHE_INVALID_KEY where there is something else than names */
export function listOf (what: string, names: Names | null | undefined): readonly string[] {
  if (names === undefined || names === null) return NONE
  const list = typeof names === 'string' ? [names] : names
  if (!Array.isArray(list)) throw new FST_ERR_CONFIG_CACHE_INVALID_KEY(what, 'must be a text or an array of texts')
  for (const name of list) checkName(what, name)
  return list
}

/**
 * The tags of an entry: its key first, then the others once each.
 *
 * @throws FST_ERR_CONFIG_CACHE_INVALID_KEY
 */
export function tagsOf (key: string, tags: Names | undefined): readonly string[] {
  const list = listOf('A tag', tags)
  if (list.length > MAX_TAGS) throw new FST_ERR_CONFIG_CACHE_INVALID_KEY('The tags of an entry', `are more than ${MAX_TAGS}`)
  return list.length === 0 ? [key] : [...new Set([key, ...list])]
}

/** @throws FST_ERR_CONFIG_CACHE_INVALID_WRITE where a value is for a key that the write does not name; FST_ERR_CONFIG_CACHE_INVALID_FEATURE */
export function checkValues (keys: Names, values: Readonly<Record<string, unknown>>): void {
  const list = listOf('A key of a write', keys)
  const unnamed = Object.keys(values).find((key) => !list.includes(key))
  if (unnamed !== undefined) throw new FST_ERR_CONFIG_CACHE_INVALID_WRITE(`has a value for "${unnamed}", which is not among its keys`)
  for (const [key, value] of Object.entries(values)) if (isFlagKey(key) && value !== null) checkFlag(value)
}

/**
 * The tags that a write touches, once each.
 *
 * @throws FST_ERR_CONFIG_CACHE_INVALID_WRITE, FST_ERR_CONFIG_CACHE_INVALID_KEY
 */
export function touchedBy ({ keys, tags }: { readonly keys?: Names | undefined, readonly tags?: Names | undefined }): readonly string[] {
  const touched = [...new Set([...listOf('A key of a write', keys), ...listOf('A tag of a write', tags)])]
  if (touched.length === 0 || touched.length > MAX_TAGS) throw new FST_ERR_CONFIG_CACHE_INVALID_WRITE(`must name 1 to ${MAX_TAGS} keys and tags`)
  return touched
}
