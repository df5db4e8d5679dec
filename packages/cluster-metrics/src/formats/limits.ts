import { createHash } from 'node:crypto'

/*
 * What readers of a report take. Writers keep to it: a report with one text or entry too many is no report to the
 * others, and its instance is gone from their picture.
 */
export const LONGEST_TEXT = 1000
export const MOST_NAMESPACES = 1000
export const MOST_FAMILIES = 5000
export const MOST_EXEMPLARS = 200

/** The route of requests that no route matched. */
export const UNMATCHED = '__unmatched__'

/** A sum as JSON has it: one beyond the largest number stands still there, where Infinity would make all of a report unreadable. */
export const finite = (sum: number): number => Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, sum))

/** A text that readers take: a longer one is cut, and stays apart from others that begin alike. */
export function fit (text: string): string {
  if (text.length <= LONGEST_TEXT) return text
  const end = `…${createHash('sha256').update(text).digest('hex').slice(0, 12)}`
  return text.slice(0, LONGEST_TEXT - end.length) + end
}

/** Null where the text is no JSON. */
export function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
