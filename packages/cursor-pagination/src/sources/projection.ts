import { fieldOf, isDocument } from '../bson/index.ts'
import { InvalidOptionsError } from '../errors.ts'

/** What to ask the source for, and how to make of its answer what the caller asked for. */
export interface ProjectionPlan {
  /** What the server is asked for; undefined for whole documents. */
  server: Record<string, unknown> | undefined
  /** Takes out what was only fetched for sorting. */
  shape: <T extends object>(document: T) => T
  /** Paths of expressions that only a server evaluates. */
  computed: readonly string[]
}

interface Parsed {
  included: string[]
  excluded: string[]
  /** Expressions such as `$slice`, which only a server evaluates. */
  computed: Array<[path: string, expression: unknown]>
}

/**
 * Widens a projection by the fields that the order needs, and takes them out again afterwards.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_OPTIONS when included and excluded fields are mixed, or a sort field is computed
 */
export function planProjection (projection: Record<string, unknown> | undefined, sortPaths: readonly string[]): ProjectionPlan {
  const parsed = parse(projection ?? {})
  for (const [path] of parsed.computed) {
    const conflict = sortPaths.find((field) => overlaps(field, path))
    if (conflict !== undefined) throw new InvalidOptionsError(`the projection computes "${path}", and the order needs "${conflict}"`)
  }
  return isInclusion(parsed) ? planInclusion(parsed, sortPaths) : planExclusion(parsed, sortPaths)
}

/** `_id` may stand in both kinds of projection; `$slice` and `$meta` alone leave the other fields in place. */
function isInclusion ({ included, excluded, computed }: Parsed): boolean {
  return included.some((path) => path !== '_id') || (included.length > 0 && excluded.length === 0) ||
    computed.some(([, expression]) => !(isDocument(expression) && ('$slice' in expression || '$meta' in expression)))
}

function planInclusion ({ included, excluded, computed }: Parsed, sortPaths: readonly string[]): ProjectionPlan {
  const mixed = excluded.find((path) => path !== '_id')
  if (mixed !== undefined) throw new InvalidOptionsError(`the projection excludes "${mixed}" beside fields that it includes`)
  const wanted = excluded.length === 0 && !included.includes('_id') ? [...included, '_id'] : included
  const fetched = withoutDescendants([...wanted, ...sortPaths])
  const server = Object.fromEntries([...fetched.map((path): [string, unknown] => [path, 1]), ...computed])
  if (!fetched.includes('_id')) server['_id'] = 0
  // The positional "a.$" leaves its one element in "a".
  const kept = [...wanted.map((path) => path.replace(/\.\$$/, '')), ...computed.map(([path]) => path)]
  return { server, shape: (document) => include(document, kept), computed: computed.map(([path]) => path) }
}

function planExclusion ({ excluded, computed }: Parsed, sortPaths: readonly string[]): ProjectionPlan {
  const server = Object.fromEntries([
    ...excluded.filter((path) => !sortPaths.some((field) => overlaps(field, path))).map((path): [string, unknown] => [path, 0]),
    ...computed
  ])
  return {
    server: Object.keys(server).length === 0 ? undefined : server,
    shape: excluded.length === 0 ? (document) => document : (document) => exclude(document, excluded),
    computed: computed.map(([path]) => path)
  }
}

function parse (projection: Record<string, unknown>, prefix = '', parsed: Parsed = { included: [], excluded: [], computed: [] }): Parsed {
  for (const [name, value] of Object.entries(projection)) {
    const path = prefix + name
    if (value === 1 || value === true) parsed.included.push(path)
    else if (value === 0 || value === false) parsed.excluded.push(path)
    else if (isDocument(value) && Object.keys(value).every((key) => !key.startsWith('$'))) parse(value as Record<string, unknown>, `${path}.`, parsed)
    else parsed.computed.push([path, value])
  }
  return parsed
}

/** Whether one path is the other, or leads to it. */
function overlaps (a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}.`) || b.startsWith(`${a}.`)
}

/** MongoDB refuses a projection of both a path and a path below it. */
function withoutDescendants (paths: readonly string[]): string[] {
  const unique = [...new Set(paths)]
  return unique.filter((path) => !unique.some((other) => path.startsWith(`${other}.`)))
}

/** A copy with the given paths only; in an array, those of each of its documents, as MongoDB does it. */
function include<T extends object> (document: T, paths: readonly string[]): T {
  return rebuild(document, paths, (value, below) => {
    if (below === undefined) return undefined
    return below.length === 0 ? value : Array.isArray(value) || isDocument(value) ? each(value, (one) => include(one, below)) : undefined
  })
}

/** A copy without the given paths. */
function exclude<T extends object> (document: T, paths: readonly string[]): T {
  return rebuild(document, paths, (value, below) => {
    if (below === undefined) return value
    return below.length === 0 ? undefined : Array.isArray(value) || isDocument(value) ? each(value, (one) => exclude(one, below), true) : value
  })
}

/** What a hydrated document of mongoose holds, instead of what it is made of. */
function plainOf (document: object): object {
  const { toObject } = document as { toObject?: unknown }
  return typeof toObject === 'function' ? toObject.call(document) as object : document
}

type Step = (value: unknown, below: string[] | undefined) => unknown

/** Copies field by field; the step gets what the paths say below each: undefined nothing, [] the field itself. */
function rebuild<T extends object> (document: T, paths: readonly string[], step: Step): T {
  const below = new Map<string, string[]>()
  for (const path of paths) {
    const [first = '', ...rest] = path.split('.')
    const known = below.get(first)
    if (rest.length === 0) below.set(first, [])
    else if (known === undefined) below.set(first, [rest.join('.')])
    else if (known.length > 0) known.push(rest.join('.'))
  }
  const plain = plainOf(document)
  const given = [...below.keys()].filter((name) => !Object.hasOwn(plain, name)).map((name): [string, unknown] => [name, fieldOf(plain, name)])
  const copy: Array<[string, unknown]> = []
  for (const [name, value] of [...Object.entries(plain), ...given]) {
    const kept = step(value, below.get(name))
    if (kept !== undefined) copy.push([name, kept])
  }
  return Object.fromEntries(copy) as T
}

function each (value: object, apply: (one: object) => object, keepScalars = false): unknown {
  if (!Array.isArray(value)) return apply(value)
  return value.flatMap((one: unknown): unknown[] => {
    if (Array.isArray(one)) return [each(one, apply, keepScalars)]
    return isDocument(one) ? [apply(one)] : keepScalars ? [one] : []
  })
}
