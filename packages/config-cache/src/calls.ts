import { Type } from 'typebox'
import { callback, isPlain, opaque } from '@jpulse/plugin-kit'
import type { FeatureContext } from './features/index.ts'
import type { LoaderContext } from './sources/index.ts'
import type { Names } from './names.ts'
import { checkerOf, Ms, NamesSchema } from './checks.ts'
import type { Values } from './values.ts'
import type { Versions } from './versions.ts'

/** How a read is answered where its load is slow or fails. */
export interface Availability {
  /** Longest run of the loader, in milliseconds; then its readers get an error. @default the option `loaderTimeoutMs` */
  loaderTimeoutMs?: number | undefined
  /**
   * After how many milliseconds a read that has something else to answer with (`staleOnError`, the `default` of a flag) does so.
   * Its load goes on, and what it brings is kept. @default none: it waits for the loader
   */
  loaderSoftTimeoutMs?: number | undefined
  /**
   * Whether a failure of the loader is answered with the last value that a read of this process got, be it from
   * before a write that has resolved. An error with a `statusCode` of 4xx is the loader's answer and no failure, but for 408, 425, 429 and 499. Each such answer is
   * counted as `stats().stale` and published. @default false
   */
  staleOnError?: boolean | undefined
}

/** Where a document is, and how it is read. */
export interface GetOptions extends Availability {
  /** @default 'config' */
  collection?: string | undefined
}

/** Where a document is, and what a write of it presumes. */
export interface SetOptions {
  /** @default 'config' */
  collection?: string | undefined
  /**
   * Of which version the document must be for the write to happen: `versionOf` what was read, one of several, `'*'` where there
   * must be one, null where there must be none. The comparison and the write are one step of the source. Undefined in its place is an error. @default whatever is there
   */
  ifVersion?: Versions
}

export interface LoadOptions<Value = unknown> extends Availability {
  /** What the value depends on, beside its own key: a write that names one of them drops it. A text is one tag. @default none */
  tags?: Names | undefined
  /**
   * Longest life, in milliseconds, a whole number from 1; or a function that says so of the value, and 0 of what is not to be kept. It
   * ends on all levels together. @default the options `ttlMs` and `redisTtlMs`
   */
  ttlMs?: number | ((value: Value) => number) | undefined
  /** Whether instances share the value through Redis. @default true */
  l2?: boolean | undefined
  /** Whether its last value is kept for `staleOnError` when it is dropped, in the place of another's. @internal @default true */
  remembered?: boolean | undefined
}

/** What makes a value. */
export type Loader<T> = (context: LoaderContext) => T | Promise<T>

/** What a write touches. */
export interface Touched {
  /** Keys of `getOrLoad`, or of documents as `config:<collection>:<key>`. A text is one key. */
  keys?: Names | undefined
  /** A text is one tag. */
  tags?: Names | undefined
}

/** A write, and what its keys stand for once its work is done. */
export interface Write<T> extends Touched {
  /**
   * What a loader of each key would return now, or a function that says so of what the work returned: instances then read
   * that in place of loading it. Only for keys in `keys` whose entries bear no other tag; one that is undefined is loaded anew. @default every instance loads anew
   */
  values?: Values | ((result: T) => Values) | undefined
  /** Longest life of those values in Redis, in milliseconds, a whole number from 1. @default the option `redisTtlMs` */
  ttlMs?: number | undefined
}

/** For whom a flag is asked, and what it is where the source cannot tell. */
export interface FeatureOptions extends Availability {
  /** What the rules of the flag look at: `targetingKey` says who asks. @default nobody known */
  context?: FeatureContext | undefined
  /** The answer where the source fails, is slower than `loaderSoftTimeoutMs`, or has a definition that is none; a last known value goes before it. @default none: the failure is thrown */
  default?: boolean | undefined
}

const closed = { additionalProperties: false }
const Flag = Type.Optional(Type.Boolean())
/** With names, or plainly without: a Map would be one of which nothing is known. */
const isContext = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value) && (isPlain(value) || Object.keys(value).length > 0)
const isValues = (value: unknown) => typeof value === 'function' || isContext(value)
const Collection = Type.Optional(Type.String())
const availability = { loaderTimeoutMs: Ms(1), loaderSoftTimeoutMs: Ms(1), staleOnError: Flag }
const VersionsSchema = opaque<Versions>('a version, versions, or null', (value) => value === null || typeof value === 'string' || (Array.isArray(value) && value.every((one) => typeof one === 'string')))

export const checkGet = checkerOf(Type.Object({ collection: Collection, ...availability }, closed))
export const checkAvailability = checkerOf(Type.Object(availability, closed))
export const checkFeatureWrite = checkerOf(Type.Object({ ifVersion: Type.Optional(VersionsSchema) }, closed))
export const checkSet = checkerOf(Type.Object({ collection: Collection, ifVersion: Type.Optional(VersionsSchema) }, closed))
export const checkLoad = checkerOf(Type.Object({ tags: NamesSchema, ttlMs: Type.Optional(Type.Union([Ms(1), callback<(value: never) => number>()])), l2: Flag, remembered: Flag, ...availability }, closed))
export const checkFeature = checkerOf(Type.Object({ default: Flag, context: Type.Optional(opaque<FeatureContext>('an object with names', isContext)), ...availability }, closed))
export const checkWrite = checkerOf(Type.Object({
  keys: NamesSchema,
  tags: NamesSchema,
  values: Type.Optional(opaque<Values>('an object, or a function that returns one', isValues)),
  ttlMs: Ms(1)
}, closed))
