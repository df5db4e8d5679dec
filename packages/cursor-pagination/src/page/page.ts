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
  /** The sort keys of the documents around the page, in the order of reading, as far as they are known. */
  before: SortKey | undefined
  after: SortKey | undefined
  total?: number
  totalIsExact?: boolean
}

/** @param next the sort key of the next document in the direction of the cursor, where it is known */
type Seal = (at: Position, next: SortKey | undefined) => string

/** Makes a page of its rows, which come in the order of reading. */
export function pageOf<T extends object> (read: readonly Row[], facts: PageFacts, seal: Seal): Page<T> {
  const { position, backwards, more, beyond, limit, offset, total } = facts
  const rows = backwards ? [...read].reverse() : read
  const [previous, next] = backwards ? [facts.after, facts.before] : [facts.before, facts.after]
  const items = rows.map(({ document }) => document as T)
  const hasNext = backwards ? beyond : more
  const hasPrev = backwards ? more : beyond || (offset ?? 0) > 0
  const cursorAt = (i: number) => seal({ key: (rows[i] as Row).key, backwards: false, inclusive: false }, rows[i + 1]?.key ?? next)
  /** Of an empty page: where it was looked for. */
  const ofPlace = () => position === undefined ? null : seal({ key: position.key, backwards: false, inclusive: false }, undefined)
  return {
    items,
    pageInfo: {
      hasNext,
      hasPrev,
      nextCursor: hasNext ? seal(edge(rows.at(-1), position, false, backwards), next) : null,
      prevCursor: hasPrev && offset === undefined ? seal(edge(rows[0], position, true, backwards), previous) : null,
      get startCursor () { return rows.length > 0 ? cursorAt(0) : ofPlace() },
      get endCursor () { return rows.length > 0 ? cursorAt(rows.length - 1) : ofPlace() },
      limit,
      ...(total === undefined ? {} : { total, totalIsExact: facts.totalIsExact ?? false }),
      ...(offset === undefined ? {} : { offset }),
      cursorOf: (item, index) => cursorAt(placeOf(items, item, index))
    }
  }
}

/** The same page with another item in the place of each. */
export function withItems<R> ({ items, pageInfo }: Page, replaced: readonly R[]): Page<R> {
  const cursorOf = (item: R, index?: number) => {
    const at = placeOf(replaced, item, index)
    return pageInfo.cursorOf(items[at], at)
  }
  return { items: [...replaced], pageInfo: Object.defineProperties({}, { ...Object.getOwnPropertyDescriptors(pageInfo), cursorOf: { value: cursorOf, enumerable: true, writable: true, configurable: true } }) as Page<R>['pageInfo'] }
}

/** The place of an item, which may stand for several rows: then its index tells which. */
function placeOf<T> (items: readonly T[], item: T, index = -1): number {
  const at = index in items && items[index] === item ? index : items.indexOf(item)
  if (at === -1) throw new TypeError('cursorOf takes an item of this page')
  return at
}

/**
 * The position of a neighbouring page: beyond the row at that end. An empty page has none: against the direction of reading
 * the neighbour begins with the position itself, in it where the page would have begun.
 */
function edge (row: Row | undefined, position: Position | undefined, backwards: boolean, reading: boolean): Position {
  if (row !== undefined) return { key: row.key, backwards, inclusive: false }
  return { key: [], ...position, backwards, inclusive: backwards !== reading || (position?.inclusive ?? true) }
}
