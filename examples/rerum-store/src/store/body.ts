import { FST_ERR_RERUM_INVALID_BODY } from '../errors.ts'
import { HALF_PAIR, isWellFormed } from './text.ts'

export type Body = Record<string, unknown>

/** What the store alone says about an object, or in the answer to a write; in a request it is ignored. */
const OWN = new Set(['@id', '__rerum', '__deleted', '_id', 'new_obj_state'])
const MAX_DEPTH = 50

/**
 * What a client wants to be stored.
 *
 * @throws FST_ERR_RERUM_INVALID_BODY for names that a database or a filter would read as something else
 */
export function contentOf (body: unknown): Body {
  if (!isRecord(body)) throw new FST_ERR_RERUM_INVALID_BODY('must be a JSON object')
  const content = Object.fromEntries(Object.entries(body).filter(([name]) => !OWN.has(name)))
  check(content, 0)
  return content
}

/**
 * What a client wants to be stored as a new object.
 *
 * @param isTaken which `@id` it must not have; any other is not kept, and an empty one or null is none
 * @throws FST_ERR_RERUM_INVALID_BODY
 */
export function newContentOf (body: unknown, isTaken: (uri: string) => boolean = () => true): Body {
  const content = contentOf(body)
  const { '@id': uri } = body as Body
  if (uri !== undefined && uri !== null && uri !== '' && (typeof uri !== 'string' || isTaken(uri))) throw new FST_ERR_RERUM_INVALID_BODY('has an @id: update makes a new version of an object, or imports one')
  if (Object.keys(content).length === 0) throw new FST_ERR_RERUM_INVALID_BODY('is empty')
  return content
}

export const isRecord = (value: unknown): value is Body => typeof value === 'object' && value !== null && !Array.isArray(value)

function check (value: unknown, depth: number): void {
  if (typeof value === 'string' && !isWellFormed(value)) throw new FST_ERR_RERUM_INVALID_BODY(HALF_PAIR)
  // JSON says 1e999 as well, which JavaScript reads as Infinity.
  if (typeof value === 'number' && !Number.isFinite(value)) throw new FST_ERR_RERUM_INVALID_BODY('holds a number that is too large')
  if (typeof value !== 'object' || value === null) return
  if (depth > MAX_DEPTH) throw new FST_ERR_RERUM_INVALID_BODY(`is nested deeper than ${MAX_DEPTH} levels`)
  for (const [name, part] of Object.entries(value)) {
    if (!Array.isArray(value) && !isPlainName(name)) throw new FST_ERR_RERUM_INVALID_BODY(`has the name ${JSON.stringify(name.slice(0, 100))}: names are not empty, hold no dot, NUL or half of a surrogate pair, and do not begin with a dollar sign`)
    check(part, depth + 1)
  }
}

const isPlainName = (name: string): boolean => name !== '' && !name.startsWith('$') && !/[.\0]/.test(name) && isWellFormed(name)
