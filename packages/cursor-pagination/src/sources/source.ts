import type { StringOrder } from '../bson/compare.ts'
import type { Collation } from '../bson/collation.ts'
import type { Position } from '../cursor/codec.ts'
import type { ProjectionPlan } from './projection.ts'
import type { SortField } from '../order/sort.ts'
import type { SortKey } from '../order/sort-key.ts'

/** A document beside the values by which it is sorted. */
export interface Row {
  document: object
  key: SortKey
}

/** A stretch of the order. */
export interface Stretch {
  /** Read from here; undefined from an end of the order. */
  position?: Omit<Position, 'backwards'>
  /** Towards the beginning of the order: the rows come in reverse. */
  backwards: boolean
  /** How many rows at most. */
  take: number
  /** How many rows to pass over first. @default 0 */
  skip?: number
}

/** What a source needs to know of a call. */
export interface Query {
  filter: Record<string, unknown>
  fields: readonly SortField[]
  projection: ProjectionPlan
  collation: Collation | undefined
  strings: StringOrder
  keyName: string
  keyOf: ((item: object) => unknown) | undefined
}

/**
 * Where documents come from. A source is made for one query and asked for stretches of its order; the documents that
 * it gives carry no field that the projection hides.
 */
export interface Source {
  /** Binds cursors to the source: the namespace of a collection, '' for arrays. */
  readonly name: string
  /** Stages of a pipeline, which bind cursors too. */
  readonly stages: readonly object[]
  /** Counting is exact whatever is asked for, because it costs the same. */
  readonly countsExactly: boolean
  read (stretch: Stretch): Promise<Row[]>
  /** Counts what the filter matches, where given up to a cap. */
  count (cap?: number): Promise<number>
  /** A number that costs next to nothing; undefined where the source has none for this filter. */
  estimate (): Promise<number | undefined>
}
