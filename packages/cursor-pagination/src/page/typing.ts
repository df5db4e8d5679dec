/** Documents in the process: anything that can be iterated again for each page. */
export type ListSource<T extends object = object> = Iterable<T> | AsyncIterable<T>

/** A collection of MongoDB's driver or of mongoose, told by its shape: the types need neither to be installed. */
export interface MongoCollection {
  insertOne (document: any, ...rest: any[]): unknown
  aggregate (...rest: any[]): unknown
  countDocuments (...rest: any[]): unknown
}

/** A model of mongoose. */
export interface MongooseModel {
  readonly modelName: string
  hydrate (document: any, ...rest: any[]): unknown
  castObject (document: any, ...rest: any[]): unknown
}

/** What can be paged. */
export type PageSource = MongoCollection | MongooseModel | ListSource

/** A document as it is stored: what is inserted, its `_id` there. */
type Stored<D> = D extends { _id: any } ? D : D extends { _id?: infer I } ? Omit<D, '_id'> & { _id: NonNullable<I> } : D

/** The documents of a source: of a model hydrated ones, or with `lean` plain ones. */
type ItemOf<S, L = false> =
  S extends { modelName: string, hydrate (...args: any[]): infer H, castObject (...args: any[]): infer R } ? (L extends false ? H : R & { _id: H extends { _id: infer I } ? I : unknown })
    : S extends { insertOne (document: infer D, ...rest: any[]): unknown } ? Stored<D>
      : S extends Iterable<infer T> | AsyncIterable<infer T> ? T : never

/** The documents that filter and sort are written for; mongoose casts, so a model takes what it can cast. */
export type OptionsItem<S> = S extends MongooseModel ? any : ItemOf<S>

/** A projection of MongoDB. */
export type Projection = Record<string, unknown>

type Named<P, V> = { [K in keyof P]: P[K] extends V ? K : never }[keyof P]
type Top<K> = K extends `${infer Head}.${string}` ? Head : K
type IsAny<T> = 0 extends 1 & T ? true : false
type Included<T, P> = Extract<keyof T, Top<Named<P, 1 | true>> | ('_id' extends Named<P, 0 | false> ? never : '_id')>

/** What a projection of literal values leaves of a document; with any other, or of a document whose fields are not declared, the document. */
export type Projected<T, P> =
  IsAny<T> extends true ? T
    : [keyof P] extends [never] ? T
        : string extends keyof P | keyof T ? T
          : P[keyof P] extends 0 | 1 | boolean
            ? [Exclude<Named<P, 1 | true>, '_id'>] extends [never]
                ? '_id' extends Named<P, 1 | true> ? Pick<T, Extract<keyof T, '_id'>> : Omit<T, Extract<Named<P, 0 | false>, keyof T>>
                : Pick<T, Included<T, P>>
            : T

/** The rows of a page; a hydrated document keeps its type, whatever was selected. */
export type RowOf<S, L, P> = S extends MongooseModel ? (L extends false ? ItemOf<S> : Projected<ItemOf<S, L>, P>) : Projected<ItemOf<S>, P>

type Operand<V> = V | (V extends ReadonlyArray<infer E> ? E : never) | (V extends string ? RegExp : never) | null

interface Operators<V> {
  $eq?: Operand<V>
  $ne?: Operand<V>
  $gt?: Operand<V>
  $gte?: Operand<V>
  $lt?: Operand<V>
  $lte?: Operand<V>
  $in?: ReadonlyArray<Operand<V>>
  $nin?: ReadonlyArray<Operand<V>>
  [operator: `$${string}`]: any
}

/** A filter of MongoDB: conditions on the fields of the documents, on paths below them, and operators. */
export type PageFilter<T = any> = { [K in keyof T]?: Operand<T[K]> | Operators<T[K]> } & { [name: string]: any }
