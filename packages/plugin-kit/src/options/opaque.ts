import { Type, type TUnsafe } from 'typebox'

/**
 * A member that is somebody else's: a client, a TLS context, a source, a function. It is looked at from outside by
 * `isOne` and handed on as it is, never walked nor copied.
 *
 * @param wanted what it must be, as words that follow "must be": "an ioredis Redis or Cluster"
 */
export function opaque<T> (wanted: string, isOne: (value: unknown) => boolean): TUnsafe<T> {
  return Type.Refine(Type.Unsafe<T>({ wanted }), (value) => isOne(value))
}

/** A member that is a function. */
export function callback<T> (): TUnsafe<T> {
  return opaque<T>('a function', (value) => typeof value === 'function')
}
