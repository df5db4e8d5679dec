export { parseSort, parseSortText, reversed, type DeclaredField, type DeclaredType, type Direction, type SortField, type SortSpec } from './sort.ts'
export { compareKeys, readerOf, refuseTies, type Reader, type SortKey } from './sort-key.ts'
