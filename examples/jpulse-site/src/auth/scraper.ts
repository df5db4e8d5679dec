import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { isAdmin } from './viewer.ts'

/** Where Prometheus asks: cluster-metrics' `prometheusPath`. */
const SCRAPED = '/metrics'

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/**
 * For cluster-metrics' `authorize`: administrators see everything, and who has the token sees what Prometheus scrapes.
 * The token is no key to the dashboard or to what else is masked, because it lies in another server's configuration.
 */
export function mayScrape (token: string | undefined): (request: FastifyRequest) => boolean {
  const expected = token === undefined ? undefined : digest(token)
  return (request) => {
    if (expected !== undefined && request.routeOptions.url === SCRAPED) {
      const [, given] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '') ?? []
      // Of digests, which are as long as each other: how long it took says nothing about the token.
      if (given !== undefined && timingSafeEqual(digest(given), expected)) return true
    }
    return isAdmin(request)
  }
}
