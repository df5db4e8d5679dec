import { documentsOf, inDialect, withCondition, type Dialect } from '../mongo/index.ts'
import { ServerSource, type Asked } from './server.ts'

/** A collection of MongoDB. */
export class CollectionSource extends ServerSource {
  readonly stages = []

  protected ask ({ interval, sort, limit, skip }: Asked, dialect: Dialect) {
    const projection = this.query.projection.server
    const find = () => this.collection.find(withCondition(this.query.filter, interval, dialect), this.options({ sort, limit, skip, projection }))
    return { documents: () => documentsOf(find()), explain: () => find().explain('executionStats') }
  }

  /** Documents by their keys, which the index of a hint would not find. */
  protected aggregate (stages: object[], _filter: Record<string, unknown>): Promise<object[]> {
    return documentsOf(this.collection.aggregate(stages, this.options({ hint: undefined })))
  }

  /** A client may decode even this number as an Int32 or a bigint. */
  async count (cap?: number): Promise<number> {
    return Number(await inDialect(this.collection, (dialect) => this.collection.countDocuments(withCondition(this.query.filter, {}, dialect), this.options({ limit: cap }))))
  }

  /** No transaction takes this command, so it is sent beside its session. */
  async estimate (): Promise<number | undefined> {
    if (Object.keys(this.query.filter).length > 0) return undefined
    return Number(await this.collection.estimatedDocumentCount(this.options({ session: undefined, hint: undefined, collation: undefined })))
  }
}
