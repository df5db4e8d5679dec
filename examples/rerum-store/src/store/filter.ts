import { FST_ERR_RERUM_INVALID_FILTER } from '../errors.ts'
import { isRecord } from './body.ts'
import { ANY, propertyTag, type Scalar } from './tags.ts'
import { HALF_PAIR, isWellFormed } from './text.ts'

/** A filter that may be handed to the database. */
export interface Filter {
  readonly filter: Record<string, unknown>
  /** Equal filters have equal texts. */
  readonly text: string
  /** What a write touches that changes an answer. */
  readonly tags: readonly string[]
}

/** Filters and operators within each other. */
export const MAX_DEPTH = 10
const MAX_CONDITIONS = 100
/** Values of one condition. */
export const MAX_LIST = 200
const TOO_MANY = `holds more than ${MAX_CONDITIONS} conditions`
/** Of one query: where more would be needed, every write drops it. */
const MAX_TAGS = 60
const COMPARISONS = new Set(['$eq', '$ne', '$gt', '$gte', '$lt', '$lte'])
const LISTS = new Set(['$in', '$nin', '$all'])
/** What combines filters. */
export const LOGIC: ReadonlySet<string> = new Set(['$and', '$or', '$nor'])

/**
 * Rebuilds a client's filter from what is known: nothing of it reaches the database unread.
 *
 * @throws FST_ERR_RERUM_INVALID_FILTER
 */
export function readFilter (body: unknown): Filter {
  const reader = new Reader()
  const filter = reader.filter(body, 'object.', 0)
  if (Object.keys(filter).length === 0) throw invalid('holds no property: whoever wants everything says so, as with { "@id": { "$exists": true } }')
  return { filter, text: JSON.stringify(filter), tags: tagsFor(body) ?? [ANY] }
}

class Reader {
  #conditions = 0

  filter (given: unknown, base: string, depth: number): Record<string, unknown> {
    if (!isRecord(given)) throw invalid('must be a JSON object')
    this.#go(depth)
    if (Object.keys(given).length > MAX_CONDITIONS) throw invalid(TOO_MANY)
    // The order of conditions says nothing; that of the properties of a value does, and stays.
    const entries = Object.entries(given).sort(([a], [b]) => a < b ? -1 : 1)
    return Object.fromEntries(entries.map(([name, part]) => {
      if (!name.startsWith('$')) return [base + path(name), this.#condition(part, depth)]
      if (!LOGIC.has(name)) throw invalid(`holds ${JSON.stringify(name)}, which is not among the operators that are allowed`)
      return [name, list(name, part, 1).map((one) => this.filter(one, base, depth + 1))]
    }))
  }

  #condition (given: unknown, depth: number): unknown {
    this.#go(depth)
    if (!hasOperators(given)) return this.#value(given, depth)
    const entries = Object.entries(given).sort(([a], [b]) => a < b ? -1 : 1)
    return Object.fromEntries(entries.map(([name, part]) => [name, this.#operator(name, part, depth)]))
  }

  #operator (name: string, part: unknown, depth: number): unknown {
    if (COMPARISONS.has(name)) return this.#value(part, depth)
    if (LISTS.has(name)) return list(name, part, 0).map((one) => this.#value(one, depth))
    switch (name) {
      case '$exists':
        if (typeof part !== 'boolean') throw invalid('needs true or false after $exists')
        return part
      case '$size':
        if (!Number.isSafeInteger(part) || (part as number) < 0) throw invalid('needs a whole number after $size')
        return part
      case '$not':
        if (!hasOperators(part)) throw invalid('needs operators after $not')
        return this.#condition(part, depth + 1)
      case '$elemMatch':
        return hasOperators(part) && !LOGIC.has(Object.keys(part)[0]!) ? this.#condition(part, depth + 1) : this.filter(part, '', depth + 1)
      default:
        throw invalid(`holds ${JSON.stringify(name.slice(0, 100))}, which is not among the operators that are allowed`)
    }
  }

  /** A value to compare with: it holds no operator on any level. */
  #value (value: unknown, depth: number): unknown {
    if (typeof value === 'string' && !isWellFormed(value)) throw invalid(HALF_PAIR)
    if (typeof value === 'number' && !Number.isFinite(value)) throw invalid('holds a number that is too large')
    if (typeof value !== 'object' || value === null) return value
    this.#go(depth)
    for (const [name, part] of Object.entries(value)) {
      if (name.startsWith('$')) throw invalid(`holds ${JSON.stringify(name.slice(0, 100))} where a value is expected`)
      if (!isWellFormed(name)) throw invalid(HALF_PAIR)
      if (name.includes('\0')) throw invalid('holds a name with a NUL, which no stored object has')
      this.#value(part, depth + 1)
    }
    return value
  }

  #go (depth: number): void {
    if (depth > MAX_DEPTH) throw invalid(`is nested deeper than ${MAX_DEPTH} levels`)
    if (++this.#conditions > MAX_CONDITIONS) throw invalid(TOO_MANY)
  }
}

const invalid = (problem: string) => new FST_ERR_RERUM_INVALID_FILTER(problem)

const hasOperators = (value: unknown): value is Record<string, unknown> => isRecord(value) && Object.keys(value).some((name) => name.startsWith('$'))

function list (name: string, value: unknown, least: number): unknown[] {
  if (!Array.isArray(value) || value.length < least || value.length > MAX_LIST) throw invalid(`needs an array of ${least} to ${MAX_LIST} after ${name}`)
  return value
}

function path (name: string): string {
  if (name.length > 500 || name.includes('\0') || !isWellFormed(name) || name.split('.').some((part) => part === '' || part.startsWith('$'))) throw invalid(`holds the path ${JSON.stringify(name.slice(0, 100))}`)
  return name
}

/**
 * Tags of which every document that matches has at least one, undefined where no condition says so.
 *
 * Any condition that all matches must meet would do. The one whose values are longest is taken: `type: 'Annotation'` is met by
 * half of a store, `target: 'https://…'` by few.
 */
function tagsFor (filter: unknown): readonly string[] | undefined {
  return best(filter as Record<string, unknown>)?.tags
}

function best (filter: Record<string, unknown>): Candidate | undefined {
  return needed(filter).sort((a, b) => b.weight - a.weight)[0]
}

/** What matches one of several filters has a tag of that one: so the tags of all. None where one of them has none. */
function anyOf (filters: Array<Record<string, unknown>>): Candidate[] {
  const each = filters.map(best).filter((one) => one !== undefined)
  const tags = [...new Set(each.flatMap((one) => one.tags))]
  return each.length < filters.length || tags.length > MAX_TAGS ? [] : [{ weight: Math.min(...each.map(({ weight }) => weight)) / each.length, tags }]
}

interface Candidate { weight: number, tags: string[] }

function needed (filter: Record<string, unknown>): Candidate[] {
  return Object.entries(filter).flatMap(([name, part]): Candidate[] => {
    if (name === '$and') return (part as Array<Record<string, unknown>>).flatMap(needed)
    if (name === '$or') return anyOf(part as Array<Record<string, unknown>>)
    // Names in a path may be places in an array, which tags do not tell apart.
    if (name.startsWith('$') || name.split('.').some((one) => /^\d+$/.test(one))) return []
    return valuesOf(part).map((values) => ({
      weight: Math.min(...values.map((value) => String(value).length)) / values.length,
      tags: [...new Set(values.map((value) => propertyTag(name, value)))]
    }))
  })
}

/** Lists of values of which every match has one. */
function valuesOf (condition: unknown): Scalar[][] {
  if (isScalar(condition)) return [[condition]]
  if (!hasOperators(condition)) return []
  return Object.entries(condition).flatMap(([name, part]) => {
    if (name === '$eq' && isScalar(part)) return [[part]]
    if (name === '$in' && Array.isArray(part) && part.length > 0 && part.length <= 20 && part.every(isScalar)) return [part]
    if (name === '$all' && Array.isArray(part)) return part.filter(isScalar).map((one) => [one])
    return []
  })
}

const isScalar = (value: unknown): value is Scalar => ['string', 'number', 'boolean'].includes(typeof value)
