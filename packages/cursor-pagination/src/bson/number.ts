import { tagOf } from './kind.ts'

/** coefficient × 10^exponent */
interface Decimal {
  coefficient: bigint
  exponent: number
}

type Numeric = number | bigint | Decimal

/**
 * Compares two numbers of any of BSON's four types by their exact mathematical values, NaN below all others and -0
 * equal to 0. Nothing is rounded on the way: JavaScript compares bigint with number exactly, and a Decimal128 is
 * compared as an integer after scaling both sides.
 */
export function compareNumbers (a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return comparePlain(a, b)
  const x = numeric(a)
  const y = numeric(b)
  if (typeof x !== 'object' && typeof y !== 'object') return comparePlain(x, y)
  if (isExtreme(x) || isExtreme(y)) return comparePlain(isExtreme(x) ? x : 0, isExtreme(y) ? y : 0)
  return compareDecimals(decimal(x), decimal(y))
}

/** Whether a BSON number is NaN. */
export function isNaNValue (value: unknown): boolean {
  return Number.isNaN(numeric(value))
}

/**
 * One value for all numbers that are equal: 1, 1.0, an Int32, a Long and a Decimal128 of 1 are the number 1. What no
 * JavaScript number stands for exactly stays as it is, a Decimal128 without the zeros at its end.
 */
export function plainestNumber (value: unknown): unknown {
  const known = numeric(value)
  if (typeof known === 'number') return known === 0 ? 0 : known
  if (typeof known === 'bigint') return BigInt.asIntN(53, known) === known ? Number(known) : value
  let { coefficient, exponent } = known
  while (coefficient !== 0n && coefficient % 10n === 0n) [coefficient, exponent] = [coefficient / 10n, exponent + 1]
  const near = Number(String(value))
  return compareNumbers(near, value) === 0 ? near : `${coefficient}E${exponent}`
}

function comparePlain (x: number | bigint, y: number | bigint): number {
  if (x < y) return -1
  if (x > y) return 1
  return Number(Number.isNaN(y)) - Number(Number.isNaN(x))
}

/** NaN and the infinities, which no decimal fraction stands for. */
function isExtreme (value: Numeric): value is number {
  return typeof value === 'number' && !Number.isFinite(value)
}

function numeric (value: unknown): Numeric {
  if (typeof value === 'number' || typeof value === 'bigint') return value
  switch (tagOf(value as object)) {
    case 'Long': return (value as { toBigInt(): bigint }).toBigInt()
    case 'Decimal128': return parseDecimal(String(value))
    default: return Number(value)
  }
}

function parseDecimal (text: string): Numeric {
  const match = /^(-?)(\d+)(?:\.(\d*))?(?:E([+-]?\d+))?$/i.exec(text)
  if (match === null) return Number(text)
  const [, sign, whole = '', fraction = '', exponent = '0'] = match
  const coefficient = BigInt(whole + fraction)
  return { coefficient: sign === '-' ? -coefficient : coefficient, exponent: Number(exponent) - fraction.length }
}

function decimal (value: Numeric): Decimal {
  if (typeof value === 'object') return value
  if (typeof value === 'bigint') return { coefficient: value, exponent: 0 }
  return decimalOfDouble(value)
}

const view = new DataView(new ArrayBuffer(8))

/** A finite double is m × 2^e; for a negative e that is m × 5^-e × 10^e, without rounding. */
function decimalOfDouble (value: number): Decimal {
  view.setFloat64(0, value)
  const bits = view.getBigUint64(0)
  const biased = Number((bits >> 52n) & 0x7ffn)
  const fraction = bits & 0xfffffffffffffn
  const mantissa = (biased === 0 ? fraction : fraction | 0x10000000000000n) * (value < 0 ? -1n : 1n)
  const exponent = (biased === 0 ? 1 : biased) - 1075
  if (exponent >= 0) return { coefficient: mantissa << BigInt(exponent), exponent: 0 }
  return { coefficient: mantissa * 5n ** BigInt(-exponent), exponent }
}

function compareDecimals (x: Decimal, y: Decimal): number {
  const sign = comparePlain(signOf(x), signOf(y))
  if (sign !== 0 || x.coefficient === 0n) return sign
  // 1E+6144 beside 1E-6176: the place of the first digit decides before anything is scaled.
  const places = comparePlain(magnitude(x), magnitude(y))
  if (places !== 0) return x.coefficient < 0n ? -places : places
  const exponent = Math.min(x.exponent, y.exponent)
  return comparePlain(scale(x, exponent), scale(y, exponent))
}

const signOf = ({ coefficient }: Decimal) => coefficient < 0n ? -1 : coefficient > 0n ? 1 : 0
const magnitude = ({ coefficient, exponent }: Decimal) => String(coefficient < 0n ? -coefficient : coefficient).length + exponent
const scale = ({ coefficient, exponent }: Decimal, to: number) => coefficient * 10n ** BigInt(exponent - to)
