import { problemOf } from '@jpulse/plugin-kit'
import { Type, type Static } from 'typebox'
import { FST_ERR_CONFIG_CACHE_INVALID_FEATURE } from '../errors.ts'
import { problemOf as problemOfCondition, type FeatureCondition } from './conditions.ts'

/** A feature flag: `enabled`, what decides for whom, and whatever the application keeps beside it. */
export interface Feature {
  enabled: boolean
  /** What the flag may be, by name: values of one type. @default `{ on: true, off: false }` */
  variants?: Readonly<Record<string, unknown>> | undefined
  /** The variant where no rule decides; the caller's own default where there is none. @default `on`; `off` where there is `targeting`; none where there are `variants` */
  defaultVariant?: string | undefined
  /** The variant of a flag that is not enabled. @default `off`; where there are `variants`, none: the caller's own default */
  offVariant?: string | undefined
  /** Rules in their order: the first one whose conditions all hold decides. @default none */
  targeting?: readonly FeatureRule[] | undefined
  /** Shares of all for whom no rule decides. @default none: `defaultVariant` */
  split?: readonly FeatureShare[] | undefined
  /** What shares are counted by: flags with the same seed treat one key alike. @default the name of the flag */
  seed?: string | undefined
  /** The attribute by whose value a share is chosen. @default 'targetingKey' */
  splitBy?: string | undefined
  /** What an evaluation tells beside the value. @default none */
  metadata?: Readonly<Record<string, string | number | boolean>> | undefined
  [property: string]: unknown
}

/** Whom a rule is for, and what they get: a variant, or shares of variants. */
export interface FeatureRule {
  if: readonly FeatureCondition[]
  variant?: string | undefined
  split?: readonly FeatureShare[] | undefined
}

/** A variant, and its weight among those of the other shares: of 20 and 80 it is 20%. */
export interface FeatureShare {
  variant: string
  weight: number
}

const closed = { additionalProperties: false }
const Name = Type.String({ minLength: 1, maxLength: 100 })
const Text = Type.String({ minLength: 1, maxLength: 512 })
const Scalar = Type.Union([Type.String(), Type.Number(), Type.Boolean()])
const Shares = Type.Array(Type.Object({ variant: Name, weight: Type.Integer({ minimum: 0, maximum: 1_000_000 }) }, closed), { minItems: 1, maxItems: 100 })
const Condition = Type.Object({
  attribute: Text,
  operator: Type.Optional(Type.Enum(['in', 'startsWith', 'endsWith', 'contains', 'lessThan', 'atMost', 'greaterThan', 'atLeast', 'exists'])),
  value: Type.Optional(Type.Union([Scalar, Type.Array(Scalar, { minItems: 1 })])),
  not: Type.Optional(Type.Boolean())
}, closed)
const Rule = Type.Object({ if: Type.Array(Condition, { minItems: 1, maxItems: 100 }), variant: Type.Optional(Name), split: Type.Optional(Shares) }, closed)

/** The schema of a flag, for forms and routes. What it cannot say, such as that a rule names a variant that exists, is checked beside it. */
export const FeatureSchema = Type.Object({
  enabled: Type.Boolean(),
  variants: Type.Optional(Type.Record(Type.String({ pattern: '^.{1,100}$' }), Type.Unknown(), { minProperties: 1 })),
  defaultVariant: Type.Optional(Name),
  offVariant: Type.Optional(Name),
  targeting: Type.Optional(Type.Array(Rule, { maxItems: 1000 })),
  split: Type.Optional(Shares),
  seed: Type.Optional(Text),
  splitBy: Type.Optional(Text),
  metadata: Type.Optional(Type.Record(Type.String(), Scalar))
}, { additionalProperties: true })

/** A flag that was checked, with its defaults. */
export interface Definition {
  readonly enabled: boolean
  readonly variants: Readonly<Record<string, unknown>>
  readonly defaultVariant: string | undefined
  readonly offVariant: string | undefined
  readonly targeting: readonly FeatureRule[]
  readonly split: readonly FeatureShare[] | undefined
  readonly seed: string | undefined
  readonly splitBy: string
  readonly metadata: Feature['metadata']
}

const BOOLEANS = Object.freeze({ on: true, off: false })

/** Values that came from the cache are frozen and shared, so each is checked once. */
const known = new WeakMap<object, Definition>()

/** @throws FST_ERR_CONFIG_CACHE_INVALID_FEATURE */
export function definitionOf (feature: unknown): Definition {
  const before = typeof feature === 'object' && feature !== null ? known.get(feature) : undefined
  if (before !== undefined) return before
  const problem = problemOf(FeatureSchema, feature)
  if (problem !== null) throw invalid(problem.path === '' ? 'it' : problem.path, problem.text)
  const { enabled, variants, defaultVariant, offVariant, targeting = [], split, seed, splitBy = 'targetingKey', metadata } = feature as Static<typeof FeatureSchema> & Feature
  const isBoolean = variants === undefined
  const definition: Definition = {
    enabled,
    variants: variants ?? BOOLEANS,
    defaultVariant: defaultVariant ?? (isBoolean ? targeting.length > 0 ? 'off' : 'on' : undefined),
    offVariant: offVariant ?? (isBoolean ? 'off' : undefined),
    targeting,
    split,
    seed,
    splitBy,
    metadata
  }
  checkNames(definition)
  if (Object.isFrozen(feature)) known.set(feature as object, definition)
  return definition
}

/**
 * Checks a flag that is about to be written. Stricter than what is read: an operator with a value that it never fits does not hold, and a share
 * of 20 alone is everybody's, but whoever writes that means something else.
 *
 * @throws FST_ERR_CONFIG_CACHE_INVALID_FEATURE
 */
export function checkFlag (feature: unknown): void {
  const { targeting, split } = definitionOf(feature)
  checkAlone('split', split)
  for (const [rule, { if: conditions, split }] of targeting.entries()) {
    checkAlone(`targeting.${rule}.split`, split)
    for (const [index, condition] of conditions.entries()) {
      const problem = problemOfCondition(condition)
      if (problem !== null) throw invalid(`targeting.${rule}.if.${index}.value`, problem)
    }
  }
}

/** A share alone is everybody's, whatever its weight: who says 20 means a fifth. */
function checkAlone (path: string, shares: readonly FeatureShare[] | undefined): void {
  const [alone, ...others] = shares ?? []
  if (alone !== undefined && others.length === 0 && alone.weight > 1 && alone.weight < 100) throw invalid(path, `is one share alone, which everybody gets: name who gets the other ${100 - alone.weight} too`)
}

function checkNames ({ variants, defaultVariant, offVariant, targeting, split }: Definition): void {
  const types = new Set(Object.values(variants).map(typeOf))
  if (types.size > 1) throw invalid('variants', `must be of one type, not of ${[...types].join(' and ')}`)
  const check = (path: string, name: string | undefined): void => {
    if (name !== undefined && !Object.hasOwn(variants, name)) throw invalid(path, `names "${name}", which is none of the variants`)
  }
  const checkShares = (path: string, shares: readonly FeatureShare[] | undefined): void => {
    shares?.forEach(({ variant }, index) => check(`${path}.${index}.variant`, variant))
    if (shares?.every(({ weight }) => weight === 0) === true) throw invalid(path, 'must have a weight above 0')
  }
  check('defaultVariant', defaultVariant)
  check('offVariant', offVariant)
  checkShares('split', split)
  targeting.forEach((rule, index) => {
    const path = `targeting.${index}`
    if ((rule.variant === undefined) === (rule.split === undefined)) throw invalid(path, 'must have a variant, or a split')
    check(`${path}.variant`, rule.variant)
    checkShares(`${path}.split`, rule.split)
    const bare = rule.if.findIndex(({ operator, value }) => (value === undefined) !== (operator === 'exists'))
    if (bare >= 0) throw invalid(`${path}.if.${bare}.value`, problemOfCondition(rule.if[bare]!)!)
  })
}

const typeOf = (value: unknown): string => Array.isArray(value) || value === null ? 'object' : typeof value

const invalid = (path: string, problem: string) => new FST_ERR_CONFIG_CACHE_INVALID_FEATURE(path, problem)
