import { inVersion, OWN_VERSION } from '../bson/index.ts'
import { RARE, type TypeNames } from './intervals.ts'

/** How a client is spoken to: which types its server knows, and which version of bson it writes with. */
export interface Dialect {
  readonly types: TypeNames
  readonly version: number
}

const DEFAULT: Dialect = { types: 'all types', version: OWN_VERSION }

const dialects = new WeakMap<object, Dialect>()

/**
 * Asks in the dialect of a collection's client, which is learned from what it refuses. A server of MongoDB's protocol that
 * does not know the rare types stores none of them either, and is asked without them; a driver that writes with another
 * version of bson is given values of that one.
 */
export async function inDialect<T> (collection: object, ask: (dialect: Dialect) => Promise<T>): Promise<T> {
  const client = (collection as { db?: { client?: object } }).db?.client ?? collection
  for (;;) {
    const dialect = dialects.get(client) ?? DEFAULT
    try {
      return await ask(dialect)
    } catch (err) {
      const learned = learn(err, dialect)
      if (learned === undefined) throw err
      dialects.set(client, learned)
    }
  }
}

const BAD_VALUE = 2

/** What an error says of the client; undefined where it says nothing new. */
function learn (err: unknown, known: Dialect): Dialect | undefined {
  const { code, name, message } = err as { code?: unknown, name?: unknown, message?: unknown }
  const [, version] = name === 'BSONVersionError' ? /bson (\d+)/.exec(String(message)) ?? [] : []
  if (version !== undefined) return Number(version) === known.version ? undefined : { ...known, version: Number(version) }
  // Only a name that is ours to leave out: a wrong one in the caller's filter says nothing about the server.
  const [, alias = ''] = Number(code) === BAD_VALUE ? /type name alias: (\w+)/i.exec(String(message)) ?? [] : []
  return RARE.has(alias) && known.types === 'all types' ? { ...known, types: 'common types' } : undefined
}

/**
 * The caller's filter and, beside it, conditions of ours: never less than the filter demands. The filter keeps its place
 * at the top level, for `$near` and others are allowed nowhere else.
 */
export function withCondition (filter: object, condition: object, { version }: Dialect): Record<string, unknown> {
  const given = inVersion(filter, version) as Record<string, unknown>
  const ours = inVersion(condition, version) as Record<string, unknown>
  if (Object.keys(ours).every((name) => !Object.hasOwn(given, name))) return { ...given, ...ours }
  const { $and = [] } = given
  return { ...given, $and: [...$and as object[], ours] }
}
