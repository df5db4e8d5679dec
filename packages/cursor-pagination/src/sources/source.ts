import type { Collation, StringOrder } from '../bson/index.ts'
import type { Position } from '../cursor/index.ts'
import type { SortField, SortKey } from '../order/index.ts'
import type { IntervalRead } from '../mongo/index.ts'
import type { ProjectionPlan } from './projection.ts'

/** A document beside the values by which it is sorted. */
export interface Row {
  document: object
  key: SortKey
}

/** A stretch of the order. */
export interface Stretch {
  /** Read from here; undefined from an end of the order. */
  position?: Pick<Position, 'key' | 'inclusive'> | undefined
  /** Towards the beginning of the order: the rows come in reverse. */
  backwards: boolean
  /** How many rows at most. */
  take: number
  /** How many rows to pass over first. @default 0 */
  skip?: number | undefined
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
  signal: AbortSignal | undefined
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
  /** What each interval that was read cost, where the query is explained. */
  readonly reads?: IntervalRead[] | undefined
  read (stretch: Stretch): Promise<Row[]>
  /** The document of that key, whether the filter matches it or not. */
  at (id: unknown): Promise<Row[]>
  /** What stages make of rows. */
  enrich (rows: readonly Row[], stages: readonly object[]): Promise<Row[]>
  /** Counts what the filter matches, where given up to a cap. */
  count (cap?: number): Promise<number>
  /** A number that costs next to nothing; undefined where the source has none for this filter. */
  estimate (): Promise<number | undefined>
}
