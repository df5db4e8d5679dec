import type { Static, TObject, TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import { isPlain } from '../values.ts'
import { isObject, join, problemOf, shapeOf } from './problem.ts'
import { wantedOf, type Shape } from './wanted.ts'

/** Checks options against its schema; `where` goes before the names in errors, as `limits` in `limits.messages`. */
export type Checker<T> = (options: unknown, where?: string) => T

type Invalid = (path: string, problem: string) => Error

/** A check that was made so often is compiled: options of a call are looked at again and again, those of a plugin once, at boot, which compiling would delay. */
const OFTEN = 20

/**
 * Makes the check of a plugin's options, of a call's or of a route's. The check drops what is `undefined`, on every level, so
 * that `{ url: process.env.REDIS_URL }` works where the variable is unset, and returns a copy; members made by `opaque` or
 * `callback` are the given ones. No options at all are none. Of an instance of a class, and of what `Object.create` made, what is
 * inherited counts too; what has no names at all, such as a Map or a promise, is an error.
 *
 * A schema says in its own keyword `wanted` what cannot be derived from it:
 * `Type.String({ pattern: '^[a-z]{1,64}$', wanted: 'a name of 1 to 64 letters' })`.
 *
 * @param schema an object; its names are the only ones where it says `additionalProperties: false`
 * @param invalid the plugin's own error, such as `(option, problem) => new FST_ERR_X_INVALID_OPTION(option, problem)`
 * @throws by the check: what `invalid` made, for the first thing that is wrong
 */
export function checker<T extends TObject> (schema: T, invalid: (option: string, problem: string) => Error): Checker<Static<T>> {
  const refuse: Invalid = (path, problem) => invalid(path === '' ? 'options' : path, problem)
  let count = 0
  let compiled: Validator | undefined
  return (options, where = '') => {
    const given = withoutUndefined(schema as Shape, options ?? {}, where, refuse)
    if (count < OFTEN) count++
    else if ((compiled ??= Compile(schema)).Check(given)) return given as Static<T>
    const problem = problemOf(schema, given, where)
    if (problem !== null) throw refuse(problem.path, problem.text)
    return given as Static<T>
  }
}

/**
 * Looks at the names of a call's options, where their values are looked at one by one and a schema would cost too much: what is
 * unknown, and what has no names such as a Map, would be a default without a word. `undefined` is none.
 *
 * @param names all that there are
 * @throws what `invalid` made
 */
export function checkCall (options: unknown, names: readonly string[], invalid: (option: string, problem: string) => Error): void {
  if (options === undefined) return
  if (!isObject(options) || (!isPlain(options) && !names.some((name) => name in options))) throw invalid('options', `must be an object with ${names.join(', ')}`)
  for (const name in options) if (!names.includes(name)) throw invalid(name, 'is unknown')
}

/** Copies what the schema knows as objects and arrays; the rest stays what it is. */
function withoutUndefined (schema: Shape, value: unknown, path: string, refuse: Invalid): unknown {
  const branch = schema.anyOf?.find(({ type }) => type === (Array.isArray(value) ? 'array' : 'object')) ?? schema
  if (Array.isArray(value) && branch.type === 'array') return value.map((one, index) => withoutUndefined(branch.items ?? {}, one, join(path, String(index)), refuse))
  if (!isObject(value) || branch.type !== 'object') return value
  const members = isPlain(value) ? Object.entries(value) : inheritedToo(branch, value, path, refuse)
  return Object.fromEntries(members.filter(([, member]) => member !== undefined).map(([name, member]) => {
    const shape = shapeOf(branch, name)
    return [name, typeof shape === 'object' ? withoutUndefined(shape, member, join(path, name), refuse) : member]
  }))
}

/** Taken for an empty object, a Map or a promise would have every option at its default without a word. */
function inheritedToo (shape: Shape, value: Record<string, unknown>, path: string, refuse: Invalid): Array<[string, unknown]> {
  const names = new Set(Object.keys(shape.properties ?? {}).filter((name) => name in value && !(name in Object.prototype)))
  for (const name in value) names.add(name)
  if (names.size === 0) throw refuse(path, `must be ${wantedOf(shape as TSchema)}, not a ${value.constructor?.name ?? 'class instance'}`)
  // A method needs what it is a method of.
  return [...names].map((name) => [name, typeof value[name] === 'function' && !Object.hasOwn(value, name) ? value[name].bind(value) : value[name]])
}
