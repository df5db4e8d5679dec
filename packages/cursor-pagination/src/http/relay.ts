import type { Page } from '../page/types.ts'

/** A page as a Relay connection. */
export interface RelayConnection<T> {
  edges: Array<{ node: T, cursor: string }>
  pageInfo: {
    hasNextPage: boolean
    hasPreviousPage: boolean
    /** null on an empty page. */
    startCursor: string | null
    endCursor: string | null
  }
  /** Where a total was asked for. */
  totalCount?: number
}

/**
 * Formats a page as a connection of the GraphQL Cursor Connections Specification (Relay). Its cursors are those of
 * items, for the options `after` and `before`.
 */
export function toRelay<T extends object> ({ items, pageInfo }: Page<T>): RelayConnection<T> {
  const edges = items.map((node) => ({ node, cursor: pageInfo.cursorOf(node) }))
  return {
    edges,
    pageInfo: {
      hasNextPage: pageInfo.hasNext,
      hasPreviousPage: pageInfo.hasPrev,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null
    },
    ...(pageInfo.total === undefined ? {} : { totalCount: pageInfo.total })
  }
}
