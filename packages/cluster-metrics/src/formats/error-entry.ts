/** A server error that a visitor met. */
export interface ErrorEntry {
  /** Same for errors of one kind at one place: name, code, route, and the message without its numbers. */
  fingerprint: string
  code: string
  message: string
  method: string
  /** Template of the route. */
  route: string
  statusCode: number
  instanceId: string
  timestamp: string
  /** How often it happened in this process since the last report. */
  count: number
  stack?: string
}

/** As it is in Redis. The release before writes no id. */
export interface StoredError extends ErrorEntry {
  /** Where the answer of Redis was lost, the entry is written again, by the same id. */
  id?: string
}

/** Each entry once, without its id. */
export function distinctErrors (entries: readonly StoredError[]): ErrorEntry[] {
  const seen = new Set<string>()
  return entries.filter(({ id }) => {
    const isNew = id === undefined || !seen.has(id)
    if (id !== undefined) seen.add(id)
    return isNew
  }).map(({ id: _, ...entry }) => entry)
}

/** Null where the text is not an entry. */
export function readError (text: string): StoredError | null {
  try {
    const { fingerprint, code, message, method, route, statusCode, instanceId, timestamp, count, stack, id } = JSON.parse(text) as StoredError
    const texts = [fingerprint, code, message, method, route, instanceId, timestamp].every((one) => typeof one === 'string')
    if (!texts || !Number.isFinite(statusCode) || !Number.isFinite(count)) return null
    return { fingerprint, code, message, method, route, statusCode, instanceId, timestamp, count, ...(typeof stack === 'string' ? { stack } : {}), ...(typeof id === 'string' ? { id } : {}) }
  } catch {
    return null
  }
}
