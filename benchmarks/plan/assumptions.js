/**
 * What `npm run capacity` assumes where it is not told otherwise, each an option of it by its name. `least` is 0 and excluded
 * where nothing else is said, so that a 0 that makes sense has to be allowed.
 *
 * @typedef {{ value: number, what: string, least?: number, most?: number, isWhole?: boolean }} Assumption
 * @typedef {{ [Name in keyof typeof ASSUMPTIONS]: number }} Assumptions
 */
export const ASSUMPTIONS = {
  sessions: { value: 1, what: 'live sessions of each user', least: 0 },
  online: { value: 0.1, what: 'share of the users that are there at the busiest hour', most: 1 },
  tabs: { value: 1, what: 'sockets of each who is there; 0 for a site without WebSockets', least: 0 },
  requests: { value: 0.1, what: 'requests of each who is there, a second', least: 0 },
  handler: { value: 0, what: 'ms of CPU that your own code takes in a request', least: 0 },
  messages: { value: 0.01, what: 'messages to a room of each who is there, a second', least: 0 },
  room: { value: 20, what: 'sockets in a room' },
  cached: { value: 10_000, what: 'values in the cache', least: 0, isWhole: true },
  history: { value: 100_000, what: 'messages in histories: 500 namespaces of 200', least: 0, isWhole: true },
  points: { value: 360, what: 'points in the history of an instance: an hour of keepMs, one with each report', least: 0, isWhole: true },
  busy: { value: 0.5, what: 'share of a core that a worker or a primary may use: the rest is for what comes in bursts', most: 1 },
  sockets: { value: 10_000, what: 'sockets of one worker at most: as many come back at once where one dies', least: 1, isWhole: true },
  workers: { value: 2, what: 'workers at least: two, so that one may die or be replaced', least: 2, isWhole: true },
  headroom: { value: 2, what: 'times the data: copies while a snapshot or a replica is made, fragments, buffers of clients', least: 1 },
  primary: { value: 8, what: 'GiB of data that one primary holds at most: it is copied whole to a new replica' }
}

/** More than there are people. */
export const MOST_USERS = 10_000_000_000

/** The values alone, with those that are given in their place. @param {Partial<Assumptions>} given @returns {Assumptions} */
export function assumed (given) {
  /** @type {any} */
  const values = Object.fromEntries(Object.entries(ASSUMPTIONS).map(([name, { value }]) => [name, value]))
  return { ...values, ...given }
}
