/** Who asks, and about what: `targetingKey` says who, the rest is the application's. */
export interface FeatureContext {
  readonly targetingKey?: string | undefined
  readonly [attribute: string]: unknown
}

/**
 * A condition on an attribute of the context: `plan`, or `user.plan` of an object in it. It does not hold where the attribute is missing, whatever it says,
 * but for `exists`. Values are compared with their types: `'1'` is not 1. Of an attribute that is an array one member has to fit, and one of several `value`s.
 */
export interface FeatureCondition {
  attribute: string
  /** `in`: equal to a value. `lessThan`, `atMost`, `greaterThan`, `atLeast`: numbers, or dates as ISO 8601 texts. @default 'in' */
  operator?: 'in' | 'startsWith' | 'endsWith' | 'contains' | 'lessThan' | 'atMost' | 'greaterThan' | 'atLeast' | 'exists' | undefined
  value?: string | number | boolean | ReadonlyArray<string | number | boolean> | undefined
  /** Whether the opposite is meant. @default false */
  not?: boolean | undefined
}

/** Whether a condition holds for a context. */
export function holds ({ attribute, operator = 'in', value, not = false }: FeatureCondition, context: FeatureContext): boolean {
  const found = attributeOf(context, attribute)
  const isThere = found !== undefined && found !== null
  if (operator === 'exists') return isThere !== not
  if (!isThere) return false
  const wanted: readonly unknown[] = Array.isArray(value) ? value : [value]
  const members: readonly unknown[] = Array.isArray(found) ? found : [found]
  return members.some((member) => wanted.some((one) => OPERATORS[operator](member, one))) !== not
}

const texts = (compare: (a: string, b: string) => boolean) => (a: unknown, b: unknown): boolean => typeof a === 'string' && typeof b === 'string' && compare(a, b)

const ordered = (compare: (a: number, b: number) => boolean) => (a: unknown, b: unknown): boolean => {
  if (typeof a === 'number' && typeof b === 'number') return compare(a, b)
  const [mine, theirs] = [dateOf(a), dateOf(b)]
  return mine !== undefined && theirs !== undefined && compare(mine, theirs)
}

const OPERATORS: Record<Exclude<NonNullable<FeatureCondition['operator']>, 'exists'>, (a: unknown, b: unknown) => boolean> = {
  in: (a, b) => a === b,
  startsWith: texts((a, b) => a.startsWith(b)),
  endsWith: texts((a, b) => a.endsWith(b)),
  contains: texts((a, b) => a.includes(b)),
  lessThan: ordered((a, b) => a < b),
  atMost: ordered((a, b) => a <= b),
  greaterThan: ordered((a, b) => a > b),
  atLeast: ordered((a, b) => a >= b)
}

/** The value that a condition compares with can never fit the operator; null where it can. */
export function problemOf ({ operator = 'in', value }: FeatureCondition): string | null {
  if (operator === 'exists') return value === undefined ? null : 'is of no use beside exists'
  if (value === undefined) return 'is missing'
  const values: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (['startsWith', 'endsWith', 'contains'].includes(operator)) return values.every((one) => typeof one === 'string') ? null : `must be text for ${operator}`
  if (operator === 'in') return null
  return values.every((one) => typeof one === 'number' || !Number.isNaN(dateOf(one) ?? NaN)) ? null : `must be a number or a date for ${operator}`
}

/** A date, its time and its zone. */
const DATE = /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:?\d\d)?)?$/i

function dateOf (value: unknown): number | undefined {
  if (value instanceof Date) return value.getTime()
  const found = typeof value === 'string' ? DATE.exec(value) : null
  // Without a zone it would be another moment on each machine.
  return found === null ? undefined : Date.parse(found[1] !== undefined && found[2] === undefined ? `${found[0]}Z` : found[0])
}

/** An attribute of that name, or the way to it through objects. What a context inherits is none of its attributes. */
export function attributeOf (context: FeatureContext, path: string): unknown {
  if (Object.hasOwn(context, path)) return context[path]
  let found: unknown = context
  for (const name of path.split('.')) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, name)) return undefined
    found = (found as Record<string, unknown>)[name]
  }
  return found
}
