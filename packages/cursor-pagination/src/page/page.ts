import type { Position } from '../cursor/index.ts'
import type { SortKey } from '../order/index.ts'
import type { Row } from '../sources/index.ts'
import type { Page } from './types.ts'

/** What a page is made of, beside its rows. */
export interface PageFacts {
  /** Where the page was read from, or where it stops; undefined for the first page and in offset mode. */
  position: Position | undefined
  backwards: boolean
  /** Something lies beyond the page in the direction of reading. */
  more: boolean
  /** Something lies on the other side. */
  beyond: boolean
  limit: number
  offset: number | undefined
  total?: number
  totalIsExact?: boolean
}

type Seal = (at: Position) => string

/** Makes a page of its rows, which come in the order of reading. */
export function pageOf<T extends object> (read: readonly Row[], facts: PageFacts, seal: Seal): Page<T> {
  const { position, backwards, more, beyond, limit, offset, total } = facts
  const rows = backwards ? [...read].reverse() : read
  const items = rows.map(({ document }) => document as T)
  const hasNext = backwards ? beyond : more
  const hasPrev = backwards ? more : beyond || (offset ?? 0) > 0
  const keys = new Map<T, SortKey>(items.map((item, i) => [item, (rows[i] as Row).key]))
  return {
    items,
    pageInfo: {
      hasNext,
      hasPrev,
      nextCursor: hasNext ? seal(edge(rows.at(-1), position, false)) : null,
      prevCursor: hasPrev && offset === undefined ? seal(edge(rows[0], position, true)) : null,
      get startCursor () { return placeOf(rows[0], position, seal) },
      get endCursor () { return placeOf(rows.at(-1), position, seal) },
      limit,
      ...(total === undefined ? {} : { total, totalIsExact: facts.totalIsExact ?? false }),
      ...(offset === undefined ? {} : { offset }),
      cursorOf (item) {
        const key = keys.get(item)
        if (key === undefined) throw new TypeError('cursorOf takes an item of this page')
        return seal({ key, backwards: false, inclusive: false })
      }
    }
  }
}

/** The same page with another item in the place of each. */
export function withItems<R> ({ items, pageInfo }: Page, replaced: readonly R[]): Page<R> {
  const cursorOf = (item: R) => pageInfo.cursorOf(items[replaced.indexOf(item)])
  return { items: [...replaced], pageInfo: Object.defineProperties({}, { ...Object.getOwnPropertyDescriptors(pageInfo), cursorOf: { value: cursorOf, enumerable: true, writable: true, configurable: true } }) as Page<R>['pageInfo'] }
}

/**
 * The position of a neighbouring page: beyond the row at that end. An empty page has none; from there, the neighbour
 * begins with the position itself.
 */
function edge (row: Row | undefined, position: Position | undefined, backwards: boolean): Position {
  if (row !== undefined) return { key: row.key, backwards, inclusive: false }
  return { key: [], ...position, backwards, inclusive: true }
}

/** The cursor of a row; without one, of where it was looked for. */
function placeOf (row: Row | undefined, position: Position | undefined, seal: Seal): string | null {
  const key = row?.key ?? position?.key
  return key === undefined ? null : seal({ key, backwards: false, inclusive: false })
}
