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

/** Null where the text is not an entry. */
export function readError (text: string): ErrorEntry | null {
  try {
    const { fingerprint, code, message, method, route, statusCode, instanceId, timestamp, count, stack } = JSON.parse(text) as ErrorEntry
    const texts = [fingerprint, code, message, method, route, instanceId, timestamp].every((one) => typeof one === 'string')
    if (!texts || !Number.isFinite(statusCode) || !Number.isFinite(count)) return null
    return { fingerprint, code, message, method, route, statusCode, instanceId, timestamp, count, ...(typeof stack === 'string' ? { stack } : {}) }
  } catch {
    return null
  }
}
