import type { TSchema } from 'typebox'

/** What is read of a schema, whatever made it. */
export interface Shape {
  type?: string | string[]
  wanted?: string
  const?: unknown
  enum?: unknown[]
  anyOf?: Shape[]
  oneOf?: Shape[]
  properties?: Record<string, Shape>
  required?: string[]
  patternProperties?: Record<string, Shape>
  additionalProperties?: boolean | Shape
  items?: Shape
  minItems?: number
  maxItems?: number
  uniqueItems?: boolean
  minLength?: number
  maxLength?: number
  pattern?: string
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  exclusiveMaximum?: number
  multipleOf?: number
}

/**
 * Says what a schema allows, as words that follow "must be": "a whole number from 1 to 100", "false or an object with
 * maxLength". A schema's own keyword `wanted` goes before what is derived, for patterns above all.
 */
export function wantedOf (schema: TSchema): string {
  return phrase(schema as Shape)
}

function phrase (schema: Shape): string {
  return oneOf([...new Set(alternatives(schema))])
}

/** All that a value may be instead, unions within unions included. */
function alternatives (schema: Shape): string[] {
  if (schema.wanted !== undefined) return [schema.wanted]
  const branches = branchesOf(schema)
  if (branches !== undefined) return branches.flatMap(alternatives)
  if ('const' in schema) return [literal(schema.const)]
  if (schema.enum !== undefined) return schema.enum.map(literal)
  if (Array.isArray(schema.type)) return schema.type.flatMap((type) => alternatives({ ...schema, type }))
  return schema.type === 'boolean' ? ['true', 'false'] : [simple(schema)]
}

/** What stands for a schema that says nothing of its values. */
export const ANYTHING = 'another value'

function simple (schema: Shape): string {
  switch (schema.type) {
    case 'null': return 'null'
    case 'integer': return `a whole number${range(schema)}`
    case 'number': return `a number${range(schema)}`
    case 'string': return text(schema)
    case 'array': return list(schema)
    case 'object': return object(schema)
    default: return ANYTHING
  }
}

/** The schemas of which a value must match one. */
export function branchesOf ({ anyOf, oneOf }: Shape): Shape[] | undefined {
  return anyOf ?? oneOf
}

function literal (value: unknown): string {
  return typeof value === 'bigint' ? `${value}n` : JSON.stringify(value) ?? String(value)
}

/** `a, b or c` */
function oneOf (phrases: string[]): string {
  const last = phrases.at(-1)!
  return phrases.length === 1 ? last : `${phrases.slice(0, -1).join(', ')} or ${last}`
}

function range ({ minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf }: Shape): string {
  const parts = []
  if (minimum !== undefined && maximum !== undefined) parts.push(`from ${minimum} to ${maximum}`)
  else if (minimum !== undefined) parts.push(`of ${minimum} or more`)
  else if (maximum !== undefined) parts.push(`of ${maximum} or less`)
  if (exclusiveMinimum !== undefined) parts.push(`above ${exclusiveMinimum}`)
  if (exclusiveMaximum !== undefined) parts.push(`below ${exclusiveMaximum}`)
  if (multipleOf !== undefined) parts.push(`that is a multiple of ${multipleOf}`)
  return parts.length === 0 ? '' : ` ${parts.join(' and ')}`
}

function amount (least: number | undefined, most: number | undefined, one: string, many: string): string {
  if (least !== undefined && most !== undefined) return least === most ? `${least} ${least === 1 ? one : many}` : `${least} to ${most} ${many}`
  if (most !== undefined) return `at most ${most} ${most === 1 ? one : many}`
  return `${least} or more ${many}`
}

function text ({ minLength, maxLength, pattern }: Shape): string {
  const length = minLength === 1 && maxLength === undefined ? ' that is not empty' : minLength === undefined && maxLength === undefined ? '' : ` of ${amount(minLength, maxLength, 'character', 'characters')}`
  return `a text${length}${pattern === undefined ? '' : ` that matches ${pattern}`}`
}

function list ({ items, minItems, maxItems, uniqueItems }: Shape): string {
  const count = minItems === undefined && maxItems === undefined ? '' : ` of ${amount(minItems, maxItems, 'member', 'members')}`
  const each = items === undefined || Object.keys(items).length === 0 ? '' : `${count === '' ? '' : ','} each ${phrase(items)}`
  return `an array${count}${each}${uniqueItems === true ? ' and no two alike' : ''}`
}

function object ({ properties, patternProperties }: Shape): string {
  const names = Object.keys(properties ?? {})
  if (names.length > 0) return `an object with ${names.join(', ')}`
  const [values] = Object.values(patternProperties ?? {})
  return values === undefined ? 'an object' : `an object whose values are each ${phrase(values)}`
}
