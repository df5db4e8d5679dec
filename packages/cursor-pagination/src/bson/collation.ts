import { compareStrings, type StringOrder } from './compare.ts'
import { InvalidOptionsError } from '../errors.ts'

/** A collation document of MongoDB. */
export interface Collation {
  /** An ICU locale, or 'simple' for the order of bytes. */
  locale: string
  /** 1 base letters, 2 and accents, 3 and case (the default); 4 and 5 as 3 where Intl.Collator compares. */
  strength?: number
  caseLevel?: boolean
  caseFirst?: string
  numericOrdering?: boolean
  alternate?: string
  maxVariable?: string
  backwards?: boolean
  normalization?: boolean
}

const SENSITIVITY = ['base', 'base', 'accent', 'variant', 'variant', 'variant'] as const

/**
 * The order that a collation gives strings, by Intl.Collator. Servers bring their own version of ICU, so an order that
 * depends on its finest points can differ from theirs; it is only used for arrays and to find ties.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_OPTIONS for a locale that is none, and for what Intl cannot do
 */
export function stringOrder (collation: Collation | undefined): StringOrder {
  if (collation === undefined || collation.locale === 'simple') return compareStrings
  const { locale, strength = 3, caseLevel = false, caseFirst = 'off', numericOrdering = false, alternate } = collation
  const options = {
    sensitivity: strength === 1 && caseLevel ? 'case' : SENSITIVITY[strength] ?? 'variant',
    caseFirst: caseFirst === 'off' ? 'false' : caseFirst as 'upper' | 'lower',
    numeric: numericOrdering,
    ignorePunctuation: alternate === 'shifted'
  } as const
  try {
    return new Intl.Collator(locale.replaceAll('_', '-').replace('@collation=', '-u-co-'), options).compare
  } catch (err) {
    throw new InvalidOptionsError(`the collation is not known: ${(err as Error).message}`)
  }
}
