import { Type } from 'typebox'
import { checker, isRefusal } from '@jpulse/plugin-kit'
import { FST_ERR_CONFIG_CACHE_INVALID_OPTION } from './errors.ts'
import { LONGEST_MS } from './time.ts'

/** A duration, as options, calls and routes take it: what Redis takes as well. */
export const Ms = (minimum: number, maximum = LONGEST_MS) =>
  Type.Optional(Type.Integer({ minimum, maximum, ...maximum === LONGEST_MS ? { wanted: `a whole number of milliseconds from ${minimum} to a year` } : {} }))

/** Names: checked where they are used, with an error of their own. */
export const NamesSchema = Type.Optional(Type.Unknown())

export const invalid = (option: string, problem: string) => new FST_ERR_CONFIG_CACHE_INVALID_OPTION(option, problem)

/** Makes the check of the options of the plugin, a call, a route or a source. */
export const checkerOf = <T extends Parameters<typeof checker>[0]>(schema: T) => checker(schema, invalid)

/** @throws FST_ERR_CONFIG_CACHE_INVALID_OPTION where what a call needs is no function */
export function checkFunction (name: string, given: unknown): void {
  if (typeof given !== 'function') throw invalid(name, `must be a function, not ${given === null ? 'null' : typeof given}`)
}

/** Of a client's faults those that say: not now. */
const LATER = new Set([408, 425, 429, 499])

/** Whether an error of a load is its answer, as that there is no such thing: a 4xx, but for those after which the next attempt may find more. */
export const isAnswer = (err: unknown): boolean => isRefusal(err) && !LATER.has((err as { statusCode: number }).statusCode)
