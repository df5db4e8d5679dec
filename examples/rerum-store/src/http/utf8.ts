import { isUtf8 } from 'node:buffer'
import { FST_ERR_RERUM_INVALID_BODY } from '../errors.ts'

/** A body as text, or why it is none: other bytes than those of UTF-8 would be stored as letters that nobody sent. */
export const textOf = (body: Buffer): string | Error => isUtf8(body) ? body.toString() : new FST_ERR_RERUM_INVALID_BODY('is no UTF-8')
