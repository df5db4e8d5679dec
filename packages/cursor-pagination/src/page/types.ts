import type { AggregateOptions, AggregationCursor, Collection, Document, Filter, Hint, WithId } from 'mongodb'
import type { Collation } from '../bson/collation.ts'
import type { PageDriverOptions } from '../mongo/driver-options.ts'
import type { SortSpec } from '../order/sort.ts'

/** How the total is found; see {@link PaginateOptions.total}. */
export type TotalMode = 'none' | 'exact' | 'estimated' | 'capped' | 'firstPage'

/** Documents in the process: anything that can be iterated again for each page. */
export type ListSource<T extends object> = Iterable<T> | AsyncIterable<T>

/** Options of one page. */
export interface PaginateOptions<T extends object = Document> {
  /**
   * Which documents, as a MongoDB filter; for arrays it is evaluated by mingo. A cursor is bound to it: one with
   * another filter is refused, also where only a time in it is another; see `bind`. @default all
   */
  filter?: Filter<T>
  /** The order. The key is added as the last field, with the direction of the one before it. @default the key, ascending */
  sort?: SortSpec
  /** Rows on the page: a positive integer, also as the digits of a query string. @default the plugin's defaultLimit */
  limit?: number | string
  /** A `nextCursor` or `prevCursor`, which knows its direction. null and undefined mean the first page. */
  cursor?: string | null
  /** The cursor of an item: the page after it. */
  after?: string | null
  /** The cursor of an item: the page before it. */
  before?: string | null
  /** Offset mode: skips so many rows, 0 or more, at most the plugin's maxOffset. Not beside a cursor. */
  offset?: number | string
  /** A MongoDB projection. It may hide the sort fields and `_id`; they stay hidden. Arrays take no expressions. */
  projection?: Record<string, unknown>
  /** A MongoDB collation; for arrays it is given by Intl.Collator. @default none: strings by their UTF-8 bytes */
  collation?: Collation
  /** The index to use, for collections. */
  hint?: Hint
  /**
   * The total of the filter: 'exact' counts, 'firstPage' counts on the first page only, 'capped' counts up to the
   * plugin's totalCap, 'estimated' asks for the collection's own number where there is no filter and is 'capped' beside
   * one. Arrays always count exactly. @default 'none'
   */
  total?: TotalMode
  /** Whose listing it is, such as a tenant: a cursor of another scope is refused. Any BSON value. */
  scope?: unknown
  /**
   * Stands for the filter, and for the stages of a pipeline, where a cursor is bound to its query: for a filter that is
   * another one on each call though it lists the same, such as one with the present time. Any BSON value.
   *
   * The caller promises that equal values mean the same listing but for time: put into it all that the filter depends
   * on, such as a visitor's search words. A cursor is then taken beside any filter with an equal value; it widens
   * nothing, because each call asks with its own filter, but a walk across filters skips and repeats documents.
   *
   * @default the filter and the stages themselves
   */
  bind?: unknown
  /**
   * The field that tells documents apart. For arrays also a function of the item. @default '_id'
   */
  key?: string | ((item: T) => unknown)
  /** Overrides the plugin's option of the same name. */
  explain?: boolean
  /**
   * Further options for the driver's find or aggregate, such as session, maxTimeMS or readPreference. Those that would
   * break a walk are refused: what a page has an option for, and what makes the driver give anything else than the
   * documents. With a session, the page and its total are read one after the other, as a transaction demands.
   */
  driverOptions?: PageDriverOptions
}

/** Options of one page of a pipeline: its filter is one of the collection, all else is about what the pipeline yields. */
export type PipelineOptions<T extends object = Document> = Omit<PaginateOptions<T>, 'filter'> & { filter?: Filter<Document> }

/** A collection of whichever documents, for their type says nothing about what a pipeline makes of them. */
export interface PipelineCollection {
  readonly namespace: string
  aggregate (stages?: Document[], options?: AggregateOptions): AggregationCursor
}

/** What is known of a page. */
export interface PageInfo<T extends object = Document> {
  hasNext: boolean
  hasPrev: boolean
  /** The cursor of the next page; null where there is none. */
  nextCursor: string | null
  /** The cursor of the previous page; null where there is none, and in offset mode. */
  prevCursor: string | null
  /** The limit in force. */
  limit: number
  /** How many documents the filter matches, where `total` asked for it. */
  total?: number
  /** Whether the total is exact: an estimate is not, nor a capped count that reached its cap. */
  totalIsExact?: boolean
  /** The rows skipped, in offset mode. */
  offset?: number
  /**
   * The cursor of an item of this page, for `after` and `before`.
   *
   * @throws TypeError for anything that is not one of `items`
   */
  cursorOf (item: T): string
}

/** One page. */
export interface Page<T extends object = Document> {
  items: T[]
  pageInfo: PageInfo<T>
}

/** `fastify.paginate` */
export interface Paginate {
  /**
   * One page of a collection. Every error has a `code`; those that a visitor can cause have status 400.
   *
   * @throws FST_ERR_CURSOR_PAGINATION_INVALID_CURSOR, _INVALID_LIMIT, _INVALID_OFFSET, _INVALID_SORT, _ARRAY_FIELD,
   * _TYPE_MISMATCH, _UNSORTABLE_VALUE, _INVALID_KEY, _CURSOR_TOO_LONG, _INVALID_OPTIONS
   */
  <T extends Document>(collection: Collection<T>, options?: PaginateOptions<T>): Promise<Page<WithId<T>>>
  /** One page of documents in the process, in the same order and with the same errors. */
  <T extends object>(items: ListSource<T>, options?: PaginateOptions<T>): Promise<Page<T>>
  /**
   * One page of what an aggregation pipeline yields. A `filter` is applied before its first stage. The key must tell
   * the yielded documents apart, which `_id` no longer does after `$unwind`.
   */
  pipeline<T extends Document = Document>(collection: PipelineCollection, stages: readonly Document[], options?: PipelineOptions<T>): Promise<Page<T>>
}
