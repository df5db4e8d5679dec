import { MinKey } from 'bson'
import { isDocument, tagOf } from './kind.ts'

/** By this property each copy of the bson library knows its own values, and refuses those of other major versions. */
const VERSION = Symbol.for('@@mdb.bson.version')
/** By this one version 7 knows of which type a value is; earlier ones ask for `_bsontype`. */
const TYPE = Symbol.for('@@mdb.bson.type')

/** The major version of the bson library that this package writes with. */
export const OWN_VERSION: number = Reflect.get(new MinKey(), VERSION) as number

/**
 * A value as the bson library of another version takes it, down to whatever it holds: drivers 6 and 7 live beside each
 * other, and each writes only what seems to be its own. The classes agree in what a writer asks of them.
 *
 * @returns the value itself where nothing in it is of another version
 */
export function inVersion<T> (value: T, version: number): T {
  return convert(value, version) as T
}

function convert (value: unknown, version: number): unknown {
  if (typeof value !== 'object' || value === null) return value
  const tag = tagOf(value)
  if (tag !== undefined) return tagged(value, tag, version)
  if (Array.isArray(value)) {
    const list = value.map((one) => convert(one, version))
    return list.some((one, i) => one !== value[i]) ? list : value
  }
  if (!isDocument(value) || typeof (value as { toBSON?: unknown }).toBSON === 'function') return value
  const entries = value instanceof Map ? [...value] as Array<[string, unknown]> : Object.entries(value)
  const converted = entries.map(([name, one]): [string, unknown] => [name, convert(one, version)])
  if (converted.every(([, one], i) => one === entries[i]?.[1])) return value
  return value instanceof Map ? new Map(converted) : Object.fromEntries(converted)
}

function tagged (value: object, tag: string, version: number): object {
  const inner = Object.entries(tag === 'DBRef' || tag === 'Code' ? value : {})
    .map(([name, one]): [string, unknown, unknown] => [name, one, convert(one, version)])
    .filter(([, one, converted]) => converted !== one)
  if (Reflect.get(value, VERSION) === version && inner.length === 0) return value
  const properties = inner.map(([name, , converted]): [string, PropertyDescriptor] => [name, { value: converted, enumerable: true }])
  return Object.create(value, { ...Object.fromEntries(properties), [VERSION]: { value: version }, [TYPE]: { value: tag } }) as object
}
