import { FST_ERR_RERUM_INVALID_BODY, FST_ERR_RERUM_INVALID_ID, FST_ERR_RERUM_NOT_FOUND } from '../errors.ts'
import { isRecord, type Body } from '../store/body.ts'
import type { Store } from '../store/store.ts'
import { isWellFormed } from '../store/text.ts'

/** Which object a body means: one of ours by the end of its @id, or a foreign one. */
export function target (body: Body, store: Store): { own: string | undefined, uri: string } {
  const uri = body['@id']
  if (uri === undefined) throw new FST_ERR_RERUM_INVALID_BODY('has no @id')
  if (typeof uri !== 'string' || uri.length > 2000 || !isWellFormed(uri) || !URL.canParse(uri)) throw new FST_ERR_RERUM_INVALID_ID(shownId(uri))
  return { own: store.nameIn(uri), uri }
}

/** What was given, as an error says it. */
const shownId = (uri: unknown): string => (typeof uri === 'string' ? uri : JSON.stringify(uri)).slice(0, 200)

export function ownTarget (body: unknown, store: Store): string {
  if (!isRecord(body)) throw new FST_ERR_RERUM_INVALID_BODY('must be a JSON object')
  const { own, uri } = target(body, store)
  if (own === undefined) throw new FST_ERR_RERUM_NOT_FOUND(uri)
  return own
}
