import { jsonOf } from '@jpulse/plugin-kit'
import {
  FST_ERR_REDIS_LINK_INVALID_KEY, FST_ERR_REDIS_LINK_INVALID_NUMBER, FST_ERR_REDIS_LINK_INVALID_OPTION, FST_ERR_REDIS_LINK_INVALID_VALUE
} from './errors.ts'

const YEAR_MS = 366 * 24 * 3600 * 1000

/** The error of an option of the plugin or of a call. */
export const invalid = (option: string, problem: string): Error => new FST_ERR_REDIS_LINK_INVALID_OPTION(option, problem)

/** @throws FST_ERR_REDIS_LINK_INVALID_KEY */
export function checkKey (what: string, key: unknown): asserts key is string {
  if (typeof key !== 'string' || key.length < 1 || key.length > 1024) throw new FST_ERR_REDIS_LINK_INVALID_KEY(what)
}

/** @throws FST_ERR_REDIS_LINK_INVALID_NUMBER */
export function checkMs (what: string, ms: unknown, least: 0 | 1 = 1): asserts ms is number {
  if (!Number.isSafeInteger(ms) || Number(ms) < least || Number(ms) > 100 * YEAR_MS) {
    throw new FST_ERR_REDIS_LINK_INVALID_NUMBER(what, `a whole number of milliseconds from ${least} to a hundred years`)
  }
}

/**
 * Seconds to whole milliseconds; 0 for `undefined`, which means "does not expire".
 *
 * @throws FST_ERR_REDIS_LINK_INVALID_NUMBER
 */
export function ttlToMs (ttlSeconds: number | undefined): number {
  if (ttlSeconds === undefined) return 0
  const ms = typeof ttlSeconds === 'number' ? Math.round(ttlSeconds * 1000) : NaN
  if (!(ms >= 1 && ms <= 100 * YEAR_MS)) throw new FST_ERR_REDIS_LINK_INVALID_NUMBER('ttlSeconds', 'a number of seconds above 0 and up to a hundred years')
  return ms
}

/** @throws FST_ERR_REDIS_LINK_INVALID_NUMBER */
export function checkCount (what: string, count: unknown, most: number, least: 0 | 1 = 1): asserts count is number {
  if (!Number.isSafeInteger(count) || Number(count) < least || Number(count) > most) {
    throw new FST_ERR_REDIS_LINK_INVALID_NUMBER(what, `a whole number from ${least} to ${most}`)
  }
}

/** @throws FST_ERR_REDIS_LINK_INVALID_VALUE */
export function toJson (value: unknown): string {
  return jsonOf(value, (reason) => new FST_ERR_REDIS_LINK_INVALID_VALUE(reason))
}
