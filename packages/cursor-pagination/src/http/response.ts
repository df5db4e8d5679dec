import { Type, type TSchema } from 'typebox'
import type { Page } from '../page/types.ts'

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

/** Formats a page as jPulse answers it. */
export function toJpulse<T extends object> ({ items, pageInfo }: Page<T>): JpulsePage<T> {
  const { total, totalIsExact, limit, offset, hasNext, nextCursor, prevCursor } = pageInfo
  return {
    success: true,
    data: items,
    count: items.length,
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
