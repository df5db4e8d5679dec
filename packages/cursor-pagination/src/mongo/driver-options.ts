import type { FindOptions } from 'mongodb'
import { InvalidOptionsError } from '../errors.ts'
import { defined } from '../options.ts'

/** Options of the driver that a page has as its own, and by which name: as the driver's they would change what is read behind its back. */
const OWN = { sort: 'sort', projection: 'projection', skip: 'offset', limit: 'limit', collation: 'collation', hint: 'hint' } as const

/** With these the driver gives something else than the documents of the query, or not all of them. */
const BREAKING = ['min', 'max', 'returnKey', 'singleBatch', 'tailable', 'awaitData', 'oplogReplay', 'raw', 'fieldsAsRaw', 'explain', 'out'] as const

/** Options of the driver's find and aggregate that leave a walk whole. */
export type PageDriverOptions = Omit<FindOptions, keyof typeof OWN | typeof BREAKING[number]>

/** @throws FST_ERR_CURSOR_PAGINATION_INVALID_OPTIONS */
export function checkDriverOptions (options: object): void {
  const given = new Set(Object.keys(defined(options)))
  const own = Object.entries(OWN).find(([name]) => given.has(name))
  if (own !== undefined) throw new InvalidOptionsError(`"driverOptions.${own[0]}" is not taken, give the option "${own[1]}" of the page`)
  const breaking = BREAKING.find((name) => given.has(name))
  if (breaking !== undefined) throw new InvalidOptionsError(`"driverOptions.${breaking}" is not taken, for a page needs the documents of its query as they are`)
}
