export { makePaginate } from './paginate.ts'
export { readLimit } from './request.ts'
export type * from './types.ts'
export type { ListSource, MongoCollection, MongooseModel, PageFilter, PageSource, Projected } from './typing.ts'
