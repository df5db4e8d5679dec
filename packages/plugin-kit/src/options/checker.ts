import type { Static, TObject } from 'typebox'
import { isObject, problemOf, shapeOf } from './problem.ts'
import type { Shape } from './wanted.ts'

/** Checks options against its schema; `where` goes before the names in errors, as `limits` in `limits.messages`. */
export type Checker<T> = (options: unknown, where?: string) => T

/**
 * Makes the check of a plugin's options, of a call's or of a route's. The check drops what is `undefined`, on every level, so
 * that `{ url: process.env.REDIS_URL }` works where the variable is unset, and returns a copy; members made by `opaque` or
 * `callback` are the given ones. No options at all are none.
 *
 * A schema says in its own keyword `wanted` what cannot be derived from it:
 * `Type.String({ pattern: '^[a-z]{1,64}$', wanted: 'a name of 1 to 64 letters' })`.
 *
 * @param schema an object; its names are the only ones where it says `additionalProperties: false`
 * @param invalid the plugin's own error, such as `(option, problem) => new FST_ERR_X_INVALID_OPTION(option, problem)`
 * @throws by the check: what `invalid` made, for the first thing that is wrong
 */
export function checker<T extends TObject> (schema: T, invalid: (option: string, problem: string) => Error): Checker<Static<T>> {
  return (options, where = '') => {
    const given = withoutUndefined(schema as Shape, options ?? {})
    const problem = problemOf(schema, given, where)
    if (problem !== null) throw invalid(problem.path === '' ? 'options' : problem.path, problem.text)
    return given as Static<T>
  }
}

/** Copies what the schema knows as objects and arrays; the rest stays what it is. */
function withoutUndefined (schema: Shape, value: unknown): unknown {
  const branch = schema.anyOf?.find(({ type }) => type === (Array.isArray(value) ? 'array' : 'object')) ?? schema
  if (Array.isArray(value) && branch.type === 'array') return value.map((one) => withoutUndefined(branch.items ?? {}, one))
  if (!isObject(value) || branch.type !== 'object') return value
  const defined = Object.entries(value).filter(([, member]) => member !== undefined)
  return Object.fromEntries(defined.map(([name, member]) => {
    const shape = shapeOf(branch, name)
    return [name, typeof shape === 'object' ? withoutUndefined(shape, member) : member]
  }))
}
