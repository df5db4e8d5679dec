import { createHash } from 'node:crypto'
import { FST_ERR_CONFIG_CACHE_BROKEN_FEATURE } from '../errors.ts'
import { attributeOf, holds, type FeatureContext } from './conditions.ts'
import { definitionOf, type Feature, type FeatureShare } from './definition.ts'

/** What a flag is for somebody. */
export interface Evaluation {
  /** Undefined where the caller's own default is meant. */
  readonly value: unknown
  readonly variant: string | undefined
  /**
   * `DISABLED`: it is not enabled. `TARGETING_MATCH`: a rule decided. `SPLIT`: a share did. `DEFAULT`: no rule did, or the flag has no default. `STATIC`: there is no rule.
   * `TARGETING_KEY_MISSING`: shares are counted by an attribute that the context has not.
   */
  readonly reason: 'DISABLED' | 'TARGETING_MATCH' | 'SPLIT' | 'DEFAULT' | 'STATIC' | 'TARGETING_KEY_MISSING'
}

/** @throws FST_ERR_CONFIG_CACHE_INVALID_FEATURE */
export function evaluate (name: string, feature: Feature, context: FeatureContext = {}): Evaluation {
  const { enabled, variants, defaultVariant, offVariant, targeting, split, seed = name, splitBy } = definitionOf(feature)
  const as = (variant: string | undefined, reason: Evaluation['reason']): Evaluation =>
    ({ value: variant === undefined ? undefined : variants[variant], variant, reason })
  const share = (shares: readonly FeatureShare[]): Evaluation => {
    const weighty = shares.filter(({ weight }) => weight > 0)
    // Everybody gets it, known or not.
    if (weighty.length === 1) return as(weighty[0]!.variant, 'SPLIT')
    const key = attributeOf(context, splitBy)
    if (key === undefined || key === null || key === '' || typeof key === 'object') return as(undefined, 'TARGETING_KEY_MISSING')
    return as(chosen(shares, bucketOf(seed, key as string | number | boolean)), 'SPLIT')
  }
  if (!enabled) return as(offVariant, 'DISABLED')
  const rule = targeting.find((one) => one.if.every((condition) => holds(condition, context)))
  if (rule !== undefined) return rule.split === undefined ? as(rule.variant, 'TARGETING_MATCH') : share(rule.split)
  if (split !== undefined) return share(split)
  return as(defaultVariant, targeting.length === 0 && defaultVariant !== undefined ? 'STATIC' : 'DEFAULT')
}

/**
 * Whether a flag is on for a context. One whose variants are no booleans is on where it is enabled.
 *
 * @throws FST_ERR_CONFIG_CACHE_BROKEN_FEATURE
 */
export function isOn (name: string, feature: Feature | null, context?: FeatureContext): boolean {
  if (feature === null) return false
  try {
    return isEnabledFor(name, feature, context)
  } catch (err) {
    const broken = new FST_ERR_CONFIG_CACHE_BROKEN_FEATURE(name, (err as Error).message)
    broken.cause = err
    throw broken
  }
}

function isEnabledFor (name: string, feature: Feature, context: FeatureContext | undefined): boolean {
  // What needs no look at the rest of it. A text, say, or an `enabled` that is one, does.
  if (feature.enabled === false) return false
  if (feature.enabled === true && feature.variants === undefined && feature.targeting === undefined && feature.split === undefined && feature.defaultVariant === undefined) return true
  const [one] = Object.values(definitionOf(feature).variants)
  return typeof one !== 'boolean' || evaluate(name, feature, context).value === true
}

/**
 * Where a key stands between 0 and 1: the first 48 bits of the SHA-256 of the JSON text `["seed","key"]`, as a fraction. Whoever computes it elsewhere gets the same.
 * A key keeps its place: a share that grows keeps those whom it has, as long as the shares before it do not shrink. A number or boolean is its text.
 */
export function bucketOf (seed: string, key: string | number | boolean): number {
  return createHash('sha256').update(JSON.stringify([seed, String(key)])).digest().readUIntBE(0, 6) / 2 ** 48
}

function chosen (shares: readonly FeatureShare[], bucket: number): string {
  let left = bucket * shares.reduce((total, { weight }) => total + weight, 0)
  const found = shares.find(({ weight }) => (left -= weight) < 0)
  return found!.variant
}
