import type { Position } from '../cursor/codec.ts'
import type { SortKey } from '../order/sort-key.ts'
import type { Row } from '../sources/source.ts'
import type { Page } from './types.ts'

/** What a page is made of, beside its rows. */
export interface PageFacts {
  /** Where the page was read from; undefined for the first page and in offset mode. */
  position: Position | undefined
  /** Something lies on the other side of the position. */
  beyond: boolean
  limit: number
  offset: number | undefined
  total?: number
  totalIsExact?: boolean
}

/**
 * Makes a page of the rows that were read: one more than the limit, in the order of reading, so that the one too many
 * tells whether the page has a neighbour on that side.
 */
export function pageOf<T extends object> (read: Row[], facts: PageFacts, seal: (at: Position) => string): Page<T> {
  const { position, beyond, limit, offset } = facts
  const backwards = position?.backwards ?? false
  const more = read.length > limit
  const rows = read.slice(0, limit)
  if (backwards) rows.reverse()
  const items = rows.map(({ document }) => document as T)
  const hasNext = backwards ? beyond : more
  const hasPrev = backwards ? more : beyond || (offset ?? 0) > 0
  return {
    items,
    pageInfo: {
      hasNext,
      hasPrev,
      nextCursor: hasNext ? seal(edge(rows.at(-1), position, false)) : null,
      prevCursor: hasPrev && offset === undefined ? seal(edge(rows[0], position, true)) : null,
      limit,
      ...(facts.total === undefined ? {} : { total: facts.total, totalIsExact: facts.totalIsExact ?? false }),
      ...(offset === undefined ? {} : { offset }),
      cursorOf: cursorOf<T>(items, rows, seal)
    }
  }
}

/**
 * The position of a neighbouring page: beyond the row at that end. An empty page has none; from there, the neighbour
 * begins with the position itself.
 */
function edge (row: Row | undefined, position: Position | undefined, backwards: boolean): Position {
  if (row !== undefined) return { key: row.key, backwards, inclusive: false }
  return { key: position?.key ?? [], backwards, inclusive: true }
}

function cursorOf<T extends object> (items: T[], rows: Row[], seal: (at: Position) => string): (item: T) => string {
  const keys = new WeakMap<T, SortKey>(items.map((item, i) => [item, (rows[i] as Row).key]))
  return (item) => {
    const key = keys.get(item)
    if (key === undefined) throw new TypeError('cursorOf takes an item of this page')
    return seal({ key, backwards: false, inclusive: false })
  }
}
