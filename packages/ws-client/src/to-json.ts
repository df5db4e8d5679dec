import { ClientError } from './types.ts'
import { stringify } from './wire.ts'

/** @throws ClientError with the code INVALID_DATA: where something in it would arrive as something else, or has no form at all */
export function toJson (frame: object): string {
  try {
    return stringify(frame)
  } catch (err) {
    throw new ClientError('INVALID_DATA', `the data cannot be sent: ${(err as Error).message.split('\n', 1)[0]}`)
  }
}
