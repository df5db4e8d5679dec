import { Type, type TSchema } from 'typebox'
import type { Page } from '../page/index.ts'

/** A page as jPulse answers it. */
export interface JpulsePage<T> {
  success: true
  data: T[]
  /** Rows on this page. */
  count: number
  pagination: {
    mode: 'cursor' | 'offset'
    /** null where it was not asked for. */
    total: number | null
    totalIsExact?: boolean
    limit: number
    offset?: number
    hasMore: boolean
    nextCursor: string | null
    prevCursor: string | null
  }
}

/** A page and nothing else: what a client needs that reads on. */
export interface PlainPage<T> {
  items: T[]
  /** null at the end. */
  nextCursor: string | null
}

/** A page as a connection of Relay. */
export interface RelayConnection<T> {
  edges: Array<{ node: T, cursor: string }>
  pageInfo: {
    hasNextPage: boolean
    hasPreviousPage: boolean
    /** null on an empty first page. */
    startCursor: string | null
    endCursor: string | null
  }
  /** Where a total was asked for. */
  totalCount?: number
}

/** What is shown of an item. @default the item itself */
export type Shown<T, R> = (item: T, index: number) => R

/** Formats a page plainly. @param map what is shown of each item */
export function toPage<T, R = T> (page: Page<T>, map?: Shown<T, R>): PlainPage<R> {
  return { items: shown(page, map), nextCursor: page.pageInfo.nextCursor }
}

/** Formats a page as jPulse answers it. @param map what is shown of each item */
export function toJpulse<T, R = T> (page: Page<T>, map?: Shown<T, R>): JpulsePage<R> {
  const { total, totalIsExact, limit, offset, hasNext, nextCursor, prevCursor } = page.pageInfo
  const data = shown(page, map)
  return {
    success: true,
    data,
    count: data.length,
    pagination: {
      mode: offset === undefined ? 'cursor' : 'offset',
      total: total ?? null,
      ...(totalIsExact === undefined ? {} : { totalIsExact }),
      limit,
      ...(offset === undefined ? {} : { offset }),
      hasMore: hasNext,
      nextCursor,
      prevCursor
    }
  }
}

/**
 * Formats a page as a connection of the GraphQL Cursor Connections Specification (Relay). Its cursors are those of
 * items, for the options `after` and `before`.
 *
 * @param map what is shown of each item
 */
export function toRelay<T, R = T> (page: Page<T>, map?: Shown<T, R>): RelayConnection<R> {
  const { hasNext, hasPrev, startCursor, endCursor, total } = page.pageInfo
  const nodes = shown(page, map)
  return {
    edges: page.items.map((item, i) => ({ node: nodes[i] as R, cursor: page.pageInfo.cursorOf(item, i) })),
    pageInfo: { hasNextPage: hasNext, hasPreviousPage: hasPrev, startCursor, endCursor },
    ...(total === undefined ? {} : { totalCount: total })
  }
}

function shown<T, R> ({ items }: Page<T>, map: Shown<T, R> = (item) => item as unknown as R): R[] {
  return items.map((item, i) => map(item, i))
}

const NullableString = () => Type.Unsafe<string | null>({ type: 'string', nullable: true })

/** Schema of a page of items as {@link toJpulse} formats it. */
export function PageOf<T extends TSchema> (item: T) {
  return Type.Object({
    success: Type.Literal(true),
    data: Type.Array(item),
    count: Type.Integer({ description: 'Rows on this page' }),
    pagination: Type.Object({
      mode: Type.Enum(['cursor', 'offset']),
      total: Type.Unsafe<number | null>({ type: 'integer', nullable: true }),
      totalIsExact: Type.Optional(Type.Boolean()),
      limit: Type.Integer(),
      offset: Type.Optional(Type.Integer()),
      hasMore: Type.Boolean(),
      nextCursor: NullableString(),
      prevCursor: NullableString()
    })
  })
}
