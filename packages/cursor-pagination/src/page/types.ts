import type { Collation } from '../bson/index.ts'
import type { IntervalRead, PageDriverOptions } from '../mongo/index.ts'
import type { SortSpec } from '../order/index.ts'
import type { MongoCollection, MongooseModel, OptionsItem, PageFilter, PageSource, Projection, RowOf } from './typing.ts'

/** How the total is found; see {@link PaginateOptions.total}. */
export type TotalMode = 'none' | 'exact' | 'estimated' | 'capped' | 'firstPage'

/** Stages for the rows of a page, or a function that makes one item of each row. */
export type PageStep<T, R> = readonly object[] | ((rows: T[]) => readonly R[] | Promise<readonly R[]>)

/** Options of one page. */
export interface PaginateOptions<T = any> {
  /**
   * Which documents, as a MongoDB filter; for arrays it is evaluated by mingo. A cursor is bound to it: one with
   * another filter is refused, also where only a time in it is another; see `bind`. @default all
   */
  filter?: PageFilter<T> | undefined
  /** The order. The key is added as the last field, with the direction of the one before it. @default the key, ascending */
  sort?: SortSpec<T> | undefined
  /** Rows on the page: a positive integer, also as the digits of a query string. @default the plugin's defaultLimit */
  limit?: number | string | undefined
  /** A `nextCursor` or `prevCursor`, which knows its direction. null, undefined and '' mean the first page. */
  cursor?: string | null | undefined
  /** The cursor of an item: the page after it. Beside `before`, what lies between the two. null, undefined and '' mean none. */
  after?: string | null | undefined
  /** The cursor of an item: the page before it. */
  before?: string | null | undefined
  /** As in Relay: so many rows from the beginning, or after `after`; instead of `limit`; 0 for none of them, only what is known of the page. null means none. */
  first?: number | string | null | undefined
  /** As in Relay: so many rows up to the end, or before `before`, in the order of the listing; alone, the last page. null means none. */
  last?: number | string | null | undefined
  /** Offset mode: skips so many rows, 0 or more, at most the plugin's maxOffset. Not beside a cursor. */
  offset?: number | string | undefined
  /** A MongoDB projection. It may hide the sort fields and `_id`; they stay hidden. Arrays take no expressions. */
  projection?: Projection | undefined
  /** A MongoDB collation; for arrays it is given by Intl.Collator. @default none: strings by their UTF-8 bytes */
  collation?: Collation | undefined
  /** The index to use, for collections. */
  hint?: string | object | undefined
  /**
   * The total of the filter: 'exact' counts, 'firstPage' counts on the first page only, 'capped' counts up to the
   * plugin's totalCap, 'estimated' asks for the collection's own number where there is no filter and is 'capped' beside
   * one. Arrays always count exactly. @default 'none'
   */
  total?: TotalMode | undefined
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
  key?: string | ((item: T) => unknown) | undefined
  /**
   * What is made of the rows of the page, and of no others: stages such as `$lookup`, which a server runs and which keep each
   * row and its key, or a function of all rows that gives one item for each. Stages take the place of a projection.
   */
  page?: PageStep<T, any> | undefined
  /** Of a model of mongoose: plain documents instead of hydrated ones, or the options of its `lean`. @default false */
  lean?: boolean | object | undefined
  /** Of a model of mongoose: the paths to populate in the rows of the page, as its `populate` takes them. */
  populate?: unknown
  /** Ends the reading: the call rejects with the signal's reason. */
  signal?: AbortSignal | undefined
  /**
   * Has each interval that a collection's page reads explained: `pageInfo.reads` tells what it cost, and a warning names the
   * index that is missing. Overrides the plugin's option of the same name.
   */
  explain?: boolean | undefined
  /**
   * Further options for the driver's find or aggregate, such as session, maxTimeMS or readPreference. Those that would
   * break a walk are refused: what a page has an option for, and what makes the driver give anything else than the
   * documents. With a session, the page and its total are read one after the other, as a transaction demands.
   */
  driverOptions?: PageDriverOptions | undefined
}

/** Options of one page of a pipeline: its filter is one of the collection, all else is about what the pipeline yields. */
export type PipelineOptions<T = any> = Omit<PaginateOptions<T>, 'filter' | 'lean' | 'populate'> & { filter?: PageFilter | undefined }

/** What is known of a page. */
export interface PageInfo<T = any> {
  hasNext: boolean
  hasPrev: boolean
  /** The cursor of the next page; null where there is none. */
  nextCursor: string | null
  /** The cursor of the previous page; null where there is none, and in offset mode. */
  prevCursor: string | null
  /** The cursor of the first item, for `before`: what has come before it since. Of an empty page, of the place where it was read; null where that has none. */
  readonly startCursor: string | null
  /** The cursor of the last item, for `after`: there is one at the end of a feed too, to ask later for what came since. */
  readonly endCursor: string | null
  /** The limit in force. */
  limit: number
  /** How many documents the filter matches, where `total` asked for it. */
  total?: number
  /** Whether the total is exact: an estimate is not, nor a capped count that reached its cap. */
  totalIsExact?: boolean
  /** The rows skipped, in offset mode. */
  offset?: number
  /** With `explain`: what each interval that was read cost the server, in the order of reading. */
  reads?: IntervalRead[]
  /**
   * The cursor of an item of this page, for `after` and `before`.
   *
   * @param index its place in `items`; needed only where `page` made one item of several rows. @default the first place
   * @throws TypeError for anything that is not one of `items`
   */
  cursorOf (item: T, index?: number): string
}

/** One page. */
export interface Page<T = any> {
  items: T[]
  pageInfo: PageInfo<T>
}

/** The options of a call, with what the types of its items are inferred from. */
export type CallOptions<S extends PageSource, P, L, R> = Omit<PaginateOptions<OptionsItem<S>>, 'projection' | 'lean' | 'page'> & { projection?: P | undefined, lean?: L | undefined, page?: PageStep<RowOf<S, L, P>, R> | undefined }

/** `fastify.paginate` */
export interface Paginate {
  /**
   * One page of a collection of MongoDB or mongoose, of a model of mongoose, or of documents in the process. Every error
   * has a `code`; those that a visitor can cause have status 400.
   *
   * @throws FST_ERR_CURSOR_PAGINATION_INVALID_CURSOR, _INVALID_LIMIT, _INVALID_OFFSET, _INVALID_SORT, _ARRAY_FIELD,
   * _TYPE_MISMATCH, _UNSORTABLE_VALUE, _INVALID_KEY, _INVALID_OPTIONS
   */
  <S extends PageSource, const P extends Projection = {}, const L extends boolean | object = false, R = RowOf<S, L, P>>(source: S, options?: CallOptions<S, P, L, R>): Promise<Page<R>>
  /**
   * All pages one after the other, for `for await`: forwards, or backwards where `last` or `before` begins there. Each is
   * read when it is asked for; `signal` ends it.
   */
  pages<S extends PageSource, const P extends Projection = {}, const L extends boolean | object = false, R = RowOf<S, L, P>>(source: S, options?: CallOptions<S, P, L, R>): AsyncIterableIterator<Page<R>>
  /**
   * One page of what an aggregation pipeline yields. A `filter` is applied before its first stage. The key must tell
   * the yielded documents apart, which `_id` no longer does after `$unwind`.
   */
  pipeline: PaginatePipeline
}

/** `fastify.paginate.pipeline` */
export interface PaginatePipeline {
  <T extends object = Record<string, any>, R = T>(collection: MongoCollection | MongooseModel, stages: readonly object[], options?: Omit<PipelineOptions<T>, 'page'> & { page?: PageStep<T, R> | undefined }): Promise<Page<R>>
  /** All pages of it, for `for await`. */
  pages<T extends object = Record<string, any>, R = T>(collection: MongoCollection | MongooseModel, stages: readonly object[], options?: Omit<PipelineOptions<T>, 'page'> & { page?: PageStep<T, R> | undefined }): AsyncIterableIterator<Page<R>>
}
