import { Type } from 'typebox'
import { opaque } from '@jpulse/plugin-kit'
import type { LoaderContext } from './levels/index.ts'
import type { Names } from './names.ts'
import { checkerOf, Ms, NamesSchema } from './checks.ts'
import type { Values } from './values.ts'

/** Where a document is. */
export interface GetOptions {
  /** @default 'config' */
  collection?: string | undefined
  /** See `LoadOptions.staleOnError`. @default false */
  staleOnError?: boolean | undefined
}

export interface LoadOptions {
  /** What the value depends on, beside its own key: a write that names one of them drops it. A text is one tag. @default none */
  tags?: Names | undefined
  /** Longest life on both levels, in milliseconds, a whole number from 1. @default the options `ttlMs` and `redisTtlMs` */
  ttlMs?: number | undefined
  /** Whether instances share the value through Redis. @default true */
  l2?: boolean | undefined
  /** Longest run of the loader, in milliseconds. @default the option `loaderTimeoutMs` */
  loaderTimeoutMs?: number | undefined
  /**
   * Whether a failure of the loader is answered with the last value that this process saw in a call that said so too, be it from
   * before a write that has resolved. Each such answer is counted as `stats().stale` and published. @default false
   */
  staleOnError?: boolean | undefined
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
   * that in place of loading it. Only for keys in `keys` whose entries bear no other tag. @default every instance loads anew
   */
  values?: Values | ((result: T) => Values) | undefined
  /** Longest life of those values in Redis, in milliseconds, a whole number from 1. @default the option `redisTtlMs` */
  ttlMs?: number | undefined
}

/** A feature flag: `enabled`, and whatever the application keeps beside it. */
export interface Feature {
  enabled: boolean
  [property: string]: unknown
}

/** What a flag is where the source cannot tell. */
export interface FeatureOptions {
  /** The answer where the source fails. @default none: the failure is thrown */
  default?: boolean | undefined
  /** See `LoadOptions.staleOnError`; goes before `default`. @default false */
  staleOnError?: boolean | undefined
}

const closed = { additionalProperties: false }
const Flag = Type.Optional(Type.Boolean())
const isRecord = (value: unknown) => typeof value === 'function' || (typeof value === 'object' && value !== null && !Array.isArray(value))

export const checkGet = checkerOf(Type.Object({ collection: Type.Optional(Type.String()), staleOnError: Flag }, closed))
export const checkLoad = checkerOf(Type.Object({ tags: NamesSchema, ttlMs: Ms(1), l2: Flag, loaderTimeoutMs: Ms(1), staleOnError: Flag }, closed))
export const checkFeature = checkerOf(Type.Object({ default: Flag, staleOnError: Flag }, closed))
export const checkWrite = checkerOf(Type.Object({
  keys: NamesSchema,
  tags: NamesSchema,
  values: Type.Optional(opaque<Values>('an object, or a function that returns one', isRecord)),
  ttlMs: Ms(1)
}, closed))
