import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { ANYTHING, branchesOf, wantedOf, type Shape } from './wanted.ts'

/** What is wrong with a value, and where in it. */
export interface Problem {
  /** Names and indexes from the value down to what is wrong: `nodes.0.port`; '' for the value itself. */
  readonly path: string
  /** Words that follow the name: "is unknown", "is missing: it must be …", "must be …". */
  readonly text: string
}

/** The first thing in a value that the schema does not allow; null where all is right. */
export function problemOf (schema: TSchema, value: unknown, path = ''): Problem | null {
  if (Value.Check(schema, value)) return null
  return explain(schema as Shape, value, path)
}

function explain (schema: Shape, value: unknown, path: string): Problem {
  const wrong = { path, text: `must be ${wantedOf(schema as TSchema)}` }
  const branches = branchesOf(schema)
  // Only one branch can be meant where one alone is of the value's kind, so its own words say more.
  if (branches !== undefined) {
    const meant = branches.filter((branch) => isMeant(branch, value))
    return meant.length === 1 ? explain(meant[0]!, value, path) : unknownInAll(meant, value, path) ?? wrong
  }
  if (isObject(value) && schema.type === 'object') return ofObject(schema, value, path) ?? wrong
  if (Array.isArray(value) && schema.items !== undefined) return ofMembers(schema.items, value, path) ?? wrong
  return wrong
}

function ofObject (schema: Shape, value: Record<string, unknown>, path: string): Problem | null {
  const { properties = {}, required = [] } = schema
  const unknown = Object.keys(value).find((name) => shapeOf(schema, name) === false)
  if (unknown !== undefined) return { path: join(path, unknown), text: schema.patternProperties === undefined ? 'is unknown' : 'is no name that may stand here' }
  const missing = required.find((name) => value[name] === undefined)
  if (missing !== undefined) return { path: join(path, missing), text: missingText(properties[missing]) }
  for (const [name, member] of Object.entries(value)) {
    const shape = shapeOf(schema, name)
    if (typeof shape !== 'object' || (member === undefined && !required.includes(name))) continue
    const found = problemOf(shape as TSchema, member, join(path, name))
    if (found !== null) return found
  }
  return null
}

function missingText (shape: Shape = {}): string {
  const wanted = wantedOf(shape as TSchema)
  return wanted === ANYTHING ? 'is missing' : `is missing: it must be ${wanted}`
}

function ofMembers (shape: Shape, values: unknown[], path: string): Problem | null {
  for (const [index, value] of values.entries()) {
    const found = problemOf(shape as TSchema, value, join(path, String(index)))
    if (found !== null) return found
  }
  return null
}

/** The schema of a property; false where there may be none of that name, true where it may be anything. */
export function shapeOf ({ properties = {}, patternProperties = {}, additionalProperties = true }: Shape, name: string): Shape | boolean {
  if (Object.hasOwn(properties, name)) return properties[name]!
  const matching = Object.keys(patternProperties).find((pattern) => new RegExp(pattern, 'u').test(name))
  return matching === undefined ? additionalProperties : patternProperties[matching]!
}

/** A name that none of several objects knows. */
function unknownInAll (branches: Shape[], value: unknown, path: string): Problem | null {
  if (branches.length === 0 || !isObject(value)) return null
  const name = Object.keys(value).find((key) => branches.every((branch) => shapeOf(branch, key) === false))
  return name === undefined ? null : { path: join(path, name), text: 'is unknown' }
}

/** Whether a branch can be what somebody meant by a value: an object among objects, with the same constants. */
function isMeant (branch: Shape, value: unknown): boolean {
  if (branchesOf(branch) !== undefined) return branchesOf(branch)!.some((one) => isMeant(one, value))
  if (Array.isArray(value)) return branch.type === 'array'
  if (!isObject(value) || branch.type !== 'object') return false
  return Object.entries(branch.properties ?? {}).every(([name, member]) => !('const' in member) || value[name] === member.const)
}

export function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function join (path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}
