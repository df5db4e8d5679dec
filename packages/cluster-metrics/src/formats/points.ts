import type { Sparse } from './histogram.ts'

/** What one instance was like between two reports. */
export interface Point {
  requests: number
  errors: number
  active: number
  /** Percent of a core. */
  cpu: number
  /** MiB. */
  rss: number
  /** Milliseconds. */
  delay: number
  sockets: number
  latency: Sparse
  /** Version and release of the application, '' where they are not known, and where an earlier release of ours wrote the point. */
  version: string
}

/** A point as one line: short, because there are 360 of them per instance and hour. */
export function encodePoint ({ requests, errors, active, cpu, rss, delay, sockets, latency, version }: Point): string {
  return [requests, errors, active, cpu, rss, delay, sockets, latency, encodeURIComponent(version)].join(',')
}

/** Reads `<time> <point>`; null where it is none. */
export function decodePoint (member: string): [at: number, point: Point] | null {
  const space = member.indexOf(' ')
  const at = Number(member.slice(0, space))
  const fields = member.slice(space + 1).split(',')
  const latency = fields[7]
  const numbers = fields.slice(0, 7).map(Number)
  if (!(at > 0) || latency === undefined || !numbers.every(Number.isFinite)) return null
  const [requests, errors, active, cpu, rss, delay, sockets] = numbers as [number, number, number, number, number, number, number]
  return [at, { requests, errors, active, cpu, rss, delay, sockets, latency, version: decoded(fields[8] ?? '') }]
}

function decoded (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return ''
  }
}
