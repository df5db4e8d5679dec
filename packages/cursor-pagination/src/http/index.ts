export { linkHeader } from './link-header.ts'
export { PageQuery, paginateOptions, watchQueries, type PageQueryOptions, type Sortable } from './query.ts'
export { PageOf, toJpulse, toPage, toRelay, type JpulsePage, type PlainPage, type RelayConnection } from './response.ts'
