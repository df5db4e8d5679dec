import { Type, type TUnsafe } from 'typebox'

/** Passed in place of bytes to find out whether a schema means them: schemas of objects, records and texts reject a symbol. */
const STAND_IN = Symbol('ws-namespaces.bytes')

/**
 * TypeBox schema of data that are bytes. Messages with bytes are let in only where the schema says so, with this or with
 * `Type.Unknown()`: `Type.Object({})` alone does not mean them.
 *
 * @param maxBytes longest. @default what `limits.maxMessageBytes` lets in
 */
export function Bytes ({ maxBytes = Infinity }: { maxBytes?: number } = {}): TUnsafe<Uint8Array> {
  const schema = Type.Unsafe<Uint8Array>({ description: 'Bytes: a Uint8Array, sent in a binary frame' })
  return Type.Refine(schema, (value: unknown) => value === STAND_IN || (value instanceof Uint8Array && value.length <= maxBytes)) as unknown as TUnsafe<Uint8Array>
}

/** Makes a check of messages one that knows bytes. */
export function bytesAware (check: (message: unknown) => boolean): (message: { readonly type: string, readonly data?: unknown }) => boolean {
  return (message) => check(message) && (!(message.data instanceof Uint8Array) || check({ ...message, data: STAND_IN }))
}
